/*
 * A text as a quoted string of HCL, so that it comes back byte for byte: nothing in it opens a template, ends the string or
 * the line. Escapes by number are used where HCL's own `$${` would be read differently beside another dollar.
 */
#include "base/buf.h"
#include "provider/terraform/internal.h"

static void add_escaped(unsigned char c, struct buf *out)
{
        switch (c) {
        case '"':
                buf_adds(out, "\\\"");
                break;
        case '\\':
                buf_adds(out, "\\\\");
                break;
        case '\n':
                buf_adds(out, "\\n");
                break;
        case '\r':
                buf_adds(out, "\\r");
                break;
        case '\t':
                buf_adds(out, "\\t");
                break;
        default:
                buf_addf(out, "\\u%04x", c);
        }
}

void hcl_quote(const char *text, struct buf *out)
{
        buf_addc(out, '"');
        for (const char *c = text; *c; c++) {
                unsigned char byte = (unsigned char)*c;
                bool template = (*c == '$' || *c == '%') && (c[1] == '{' || c[1] == *c);
                if (template || byte < 0x20 || byte == 0x7f || *c == '"' || *c == '\\')
                        add_escaped(byte, out);
                else
                        buf_addc(out, *c);
        }
        buf_addc(out, '"');
}
