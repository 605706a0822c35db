/* Pages, scripts and styles, made from src/web/templates and src/web/static when the program is built. */
#pragma once

#include "http/http.h"

extern const struct http_asset web_assets[];
extern const struct http_template web_templates[];
