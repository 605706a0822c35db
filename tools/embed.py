#!/usr/bin/env python3
"""Turns files into C arrays, so that a program carries its pages, scripts and SQL and needs no data directory.

  embed.py [--symbol NAME] [--gzip] [--etag] INPUT OUTPUT.c      one file:  const unsigned char NAME[], const size_t NAME_len
  embed.py --assets OUTPUT.c URLPREFIX=DIR_OR_FILE ...           const struct http_asset NAME[]     (src/http/http.h)
  embed.py --templates OUTPUT.c DIR                              const struct http_template NAME[]  (src/http/http.h)
  embed.py --migrations OUTPUT.c DIR                             const struct migration NAME[]      (src/db/migrate.h)

--symbol names the array (default: assets, templates, migrations; for one file: its name with underscores).
--gzip stores the file compressed; --etag adds `const char NAME_etag[]`, a quoted strong entity tag of what is stored.
--depfile FILE lists what was read, for Ninja. Tables end with a zero entry. Every array is followed by a NUL that its
length does not count, so a text may be used as a C string. The same input gives the same output, byte for byte.
"""

import argparse
import gzip
import hashlib
import io
import os
import re
import sys

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}


class EmbedError(Exception):
    pass


def compress(data):
    """gzip -9 without a name or a time, so that equal files stay equal."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=out, mtime=0) as stream:
        stream.write(data)
    return out.getvalue()


def etag_of(data):
    return '"' + hashlib.sha256(data).hexdigest()[:32] + '"'


def read(path, seen):
    seen.append(path)
    with open(path, "rb") as stream:
        return stream.read()


def c_string(text):
    """A C string literal of any text; trigraphs and hex escapes cannot run into what follows."""
    out = []
    for byte in text.encode():
        char = chr(byte)
        if char in '"\\?':
            out.append("\\" + char)
        elif 32 <= byte < 127:
            out.append(char)
        else:
            out.append("\\%03o" % byte)
    return '"' + "".join(out) + '"'


def c_array(symbol, data, static):
    rows = []
    stored = data + b"\0"
    for at in range(0, len(stored), 32):
        rows.append("        " + ",".join(str(byte) for byte in stored[at : at + 32]) + ",\n")
    return "%sconst unsigned char %s[%d] = {\n%s};\n" % ("static " if static else "", symbol, len(stored), "".join(rows))


def head(include, sources):
    names = ", ".join(os.path.basename(source) for source in sources) or "nothing"
    return "/* Made by tools/embed.py from %s: do not edit. */\n#include <stddef.h>\n%s\n" % (
        names.replace("*/", "* /"),
        '#include "%s"\n' % include if include else "",
    )


def identifier(name):
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def one_file(args, seen):
    data = read(args.input, seen)
    if args.gzip:
        data = compress(data)
    symbol = args.symbol or identifier(os.path.basename(args.input))
    text = head(None, seen)
    text += "extern const unsigned char %s[];\nextern const size_t %s_len;\n" % (symbol, symbol)
    text += c_array(symbol, data, static=False)
    text += "const size_t %s_len = %d;\n" % (symbol, len(data))
    if args.etag:
        text += "extern const char %s_etag[];\nconst char %s_etag[] = %s;\n" % (symbol, symbol, c_string(etag_of(data)))
    return text


def files_of(prefix, place):
    """(URL, file) for one URLPREFIX=DIR_OR_FILE: a directory is walked, a file lands below or at the prefix."""
    if os.path.isdir(place):
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    path = os.path.join(folder, name)
                    relative = os.path.relpath(path, place).replace(os.sep, "/")
                    yield prefix.rstrip("/") + "/" + relative, path
    elif os.path.isfile(place):
        yield (prefix + os.path.basename(place) if prefix.endswith("/") else prefix), place
    else:
        raise EmbedError("%s: no such file or directory" % place)


def assets(args, seen):
    found = {}
    for source in args.inputs:
        prefix, equals, place = source.partition("=")
        if not equals or not prefix.startswith("/"):
            raise EmbedError("%s: wanted URLPREFIX=DIR_OR_FILE with a URL prefix such as /static" % source)
        for url, path in files_of(prefix, place):
            if url in found:
                raise EmbedError("%s: both %s and %s would be served there" % (url, found[url], path))
            found[url] = path
    arrays, rows = [], []
    for number, (url, path) in enumerate(sorted(found.items())):
        kind = CONTENT_TYPES.get(os.path.splitext(path)[1].lower())
        if kind is None:
            raise EmbedError("%s: no content type is known for this extension (see CONTENT_TYPES)" % path)
        data = read(path, seen)
        packed = compress(data)
        gzipped = len(packed) < len(data)
        stored = packed if gzipped else data
        array = "asset_%d" % number
        arrays.append(c_array(array, stored, static=True))
        rows.append(
            "        {.path = %s, .content_type = %s, .data = %s, .len = %d, .gzip = %s, .etag = %s},\n"
            % (c_string(url), c_string(kind), array, len(stored), "true" if gzipped else "false", c_string(etag_of(stored)))
        )
    return table("http/http.h", "struct http_asset", args.symbol or "assets", "".join(arrays), rows, seen)


def templates(args, seen):
    arrays, rows = [], []
    for name in names_in(args.inputs, ".html"):
        path = os.path.join(args.inputs[0], name)
        data = text_of(path, seen)
        array = "template_%d" % len(rows)
        arrays.append(c_array(array, data, static=True))
        rows.append("        {.name = %s, .text = (const char *)%s},\n" % (c_string(name[: -len(".html")]), array))
    return table("http/http.h", "struct http_template", args.symbol or "templates", "".join(arrays), rows, seen)


def migrations(args, seen):
    arrays, rows = [], []
    for name in names_in(args.inputs, ".sql"):
        match = re.fullmatch(r"(\d{4})_([A-Za-z0-9_-]+)\.sql", name)
        if not match:
            raise EmbedError("%s: a migration is called NNNN_name.sql" % name)
        number = int(match.group(1))
        if number != len(rows) + 1:
            raise EmbedError("%s: the next migration is number %04d" % (name, len(rows) + 1))
        data = text_of(os.path.join(args.inputs[0], name), seen)
        array = "migration_%d" % number
        arrays.append(c_array(array, data, static=True))
        rows.append(
            "        {.number = %d, .name = %s, .sql = (const char *)%s},\n" % (number, c_string(match.group(2)), array)
        )
    return table("db/migrate.h", "struct migration", args.symbol or "migrations", "".join(arrays), rows, seen)


def names_in(inputs, suffix):
    if len(inputs) != 1 or not os.path.isdir(inputs[0]):
        raise EmbedError("wanted one directory, got: %s" % " ".join(inputs))
    return sorted(name for name in os.listdir(inputs[0]) if name.endswith(suffix) and not name.startswith("."))


def text_of(path, seen):
    data = read(path, seen)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise EmbedError("%s: not UTF-8: %s" % (path, error))
    if b"\0" in data:
        raise EmbedError("%s: a NUL byte would end the text" % path)
    return data


def table(include, kind, symbol, arrays, rows, seen):
    return "%s%s\nextern const %s %s[];\nconst %s %s[] = {\n%s        {0},\n};\n" % (
        head(include, seen), arrays, kind, symbol, kind, symbol, "".join(rows),
    )


def write(path, text):
    """Aside and renamed: an interrupted build leaves no half file."""
    temporary = path + ".new"
    with open(temporary, "w", encoding="ascii") as stream:
        stream.write(text)
    os.replace(temporary, path)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--assets", dest="mode", action="store_const", const=assets)
    mode.add_argument("--templates", dest="mode", action="store_const", const=templates)
    mode.add_argument("--migrations", dest="mode", action="store_const", const=migrations)
    parser.add_argument("--symbol")
    parser.add_argument("--gzip", action="store_true")
    parser.add_argument("--etag", action="store_true")
    parser.add_argument("--depfile")
    parser.add_argument("places", nargs="+", metavar="FILE")
    args = parser.parse_intermixed_args(argv)
    if args.symbol and not re.fullmatch(r"[A-Za-z_]\w*", args.symbol, flags=re.ASCII):
        parser.error("--symbol %s: not a C identifier" % args.symbol)
    if len(args.places) < 2:
        parser.error("wanted an input and an output")
    if args.mode:
        args.output, args.inputs = args.places[0], args.places[1:]
    elif len(args.places) == 2:
        args.mode, (args.input, args.output) = one_file, args.places
    else:
        parser.error("wanted one input and one output")
    return args


def main(argv):
    args = parse(argv)
    seen = []
    try:
        text = args.mode(args, seen)
        write(args.output, text)
        if args.depfile:
            # A file that is new or gone changes its folder.
            folders = set() if args.mode is one_file else {os.path.dirname(path) for path in seen}
            write(args.depfile, "%s: %s\n" % (args.output, " ".join(path.replace(" ", "\\ ") for path in [*seen, *sorted(folders)])))
    except (EmbedError, OSError) as error:
        sys.exit("embed.py: %s" % error)


if __name__ == "__main__":
    main(sys.argv[1:])
