"""The scripts in tools/ that others rely on: what they make is right, and what they should find is found."""

import gzip
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOOLS = ROOT / "tools"


def run(name, *words, code=0):
    done = subprocess.run([sys.executable, str(TOOLS / name), *map(str, words)], capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def compiled(tmp_path, source, main):
    """Compiles what embed.py made together with a main, against the real headers, runs it and returns its bytes."""
    program = tmp_path / "program"
    (tmp_path / "main.c").write_text(main)
    flags = subprocess.run(
        ["pkg-config", "--cflags", "libpq", "jansson", "libuv"], capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(
        ["gcc", "-D_GNU_SOURCE", "-Wall", "-Werror", "-I", str(ROOT / "src"), *flags, "-o", str(program), str(source), str(tmp_path / "main.c")],
        check=True)
    return subprocess.run([str(program)], capture_output=True, check=True).stdout


def array(text, name):
    """The bytes of an array in what embed.py wrote, without its closing NUL."""
    match = re.search(r"\b%s\[\d*\] = \{(.*?)\};" % name, text, re.S)
    values = bytes(int(word) for word in match.group(1).replace("\n", "").split(",") if word.strip())
    assert values[-1] == 0
    return values[:-1]


class TestEmbed:
    def test_one_file_is_every_byte_and_a_nul(self, tmp_path):
        data = bytes(range(256)) * 3
        (tmp_path / "in.bin").write_bytes(data)
        run("embed.py", "--symbol", "thing", tmp_path / "in.bin", tmp_path / "out.c")
        out = compiled(tmp_path, tmp_path / "out.c", """
            #include <stdio.h>
            extern const unsigned char thing[];
            extern const size_t thing_len;
            int main(void) { fwrite(thing, 1, thing_len + 1, stdout); return 0; }""")
        assert out == data + b"\0"

    def test_gzip_is_the_same_each_time_and_unpacks(self, tmp_path):
        (tmp_path / "page.html").write_text("<p>" * 4000)
        for name in ("one.c", "two.c"):
            run("embed.py", "--symbol", "page", "--gzip", "--etag", tmp_path / "page.html", tmp_path / name)
        one = (tmp_path / "one.c").read_text()
        assert one == (tmp_path / "two.c").read_text()
        assert gzip.decompress(array(one, "page")) == b"<p>" * 4000
        assert re.search(r'page_etag\[\] = "\\"[0-9a-f]{32}\\""', one)

    def test_assets_are_found_typed_and_packed_where_it_pays(self, tmp_path):
        static = tmp_path / "static"
        (static / "deep").mkdir(parents=True)
        (static / "app.js").write_text("x" * 5000)
        (static / "deep" / "dot.png").write_bytes(b"\x89PNG")
        (static / ".hidden").write_text("no")
        run("embed.py", "--assets", "--symbol", "web_assets", tmp_path / "out.c", "/static=%s" % static)
        out = compiled(tmp_path, tmp_path / "out.c", """
            #include <stdio.h>
            #include "http/http.h"
            extern const struct http_asset web_assets[];
            int main(void) {
                    for (const struct http_asset *a = web_assets; a->path; a++)
                            printf("%s|%s|%zu|%d|%s\\n", a->path, a->content_type, a->len, a->gzip, a->etag);
                    return 0; }""").decode().splitlines()
        assert [line.split("|")[0] for line in out] == ["/static/app.js", "/static/deep/dot.png"]
        assert out[0].split("|")[1] == "text/javascript; charset=utf-8" and out[0].split("|")[3] == "1"
        assert int(out[0].split("|")[2]) < 200 and out[1].split("|")[1:4] == ["image/png", "4", "0"]
        assert all(re.fullmatch(r'"[0-9a-f]{32}"', line.split("|")[4]) for line in out)

    def test_an_unknown_type_or_one_address_twice_is_refused(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "x.odd").write_text("x")
        assert "no content type" in run("embed.py", "--assets", tmp_path / "out.c", "/s=%s" % (tmp_path / "a"), code=1)
        (tmp_path / "a" / "x.odd").rename(tmp_path / "a" / "x.js")
        twice = "/s=%s" % (tmp_path / "a")
        assert "both" in run("embed.py", "--assets", tmp_path / "out.c", twice, twice, code=1)
        assert not (tmp_path / "out.c").exists()

    def test_templates_are_named_by_their_file(self, tmp_path):
        pages = tmp_path / "pages"
        pages.mkdir()
        (pages / "index.html").write_text('<p title="é?">{{name}}\\</p>\n')
        (pages / "admin.html").write_text("")
        run("embed.py", "--templates", tmp_path / "out.c", pages)
        out = compiled(tmp_path, tmp_path / "out.c", """
            #include <stdio.h>
            #include "http/http.h"
            extern const struct http_template templates[];
            int main(void) {
                    for (const struct http_template *t = templates; t->name; t++)
                            printf("%s=%s;", t->name, t->text);
                    return 0; }""").decode()
        assert out == 'admin=;index=<p title="é?">{{name}}\\</p>\n;'

    def test_migrations_are_numbered_without_a_gap(self, tmp_path):
        sql = tmp_path / "sql"
        sql.mkdir()
        (sql / "0001_first.sql").write_text("select '?';")
        (sql / "0002_second.sql").write_text("select 2;")
        run("embed.py", "--migrations", "--symbol", "steps", tmp_path / "out.c", sql)
        out = compiled(tmp_path, tmp_path / "out.c", """
            #include <stdio.h>
            #include "db/migrate.h"
            extern const struct migration steps[];
            int main(void) {
                    for (const struct migration *m = steps; m->number; m++)
                            printf("%d %s %s\\n", m->number, m->name, m->sql);
                    return 0; }""").decode()
        assert out == "1 first select '?';\n2 second select 2;\n"
        (sql / "0002_second.sql").rename(sql / "0003_second.sql")
        assert "0002" in run("embed.py", "--migrations", tmp_path / "out.c", sql, code=1)


class TestFloors:
    def tree(self, tmp_path, path, *includes):
        file = tmp_path / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("/* a file */\n" + "".join('#include "%s"\n' % name for name in includes))
        return tmp_path / "src"

    @pytest.mark.parametrize("path,include", [
        ("base/text.c", "http/http.h"),
        ("http/router.c", "db/db.h"),
        ("db/link.c", "http/http.h"),
        ("config/load.c", "db/db.h"),
        ("lab/vm.c", "web/routes.h"),
        ("web/routes.c", "provider/provider.h"),
        ("client/main.c", "lab/vm.h"),
        ("allocator/main.c", "runner/runner.h"),
        ("cli/main.c", "client/settings.h"),
        ("provider/provider.c", "provider/local/local.h"),
        ("lab/vm.c", "nowhere/x.h"),
    ])
    def test_a_planted_violation_is_found_with_its_place(self, tmp_path, path, include):
        src = self.tree(tmp_path, path, "base/text.h", include)
        said = run("check-floors", src, code=1)
        assert "%s:3: " % path in said and len(said.splitlines()) == 1, said

    @pytest.mark.parametrize("path,include", [
        ("web/routes.c", "lab/vm.h"),
        ("lab/vm.c", "db/db.h"),
        ("runner/main.c", "provider/local/local.h"),
        ("provider/local/boot.c", "provider/local/local.h"),
        ("client/main.c", "config/config.h"),
    ])
    def test_what_is_lower_may_be_included(self, tmp_path, path, include):
        assert run("check-floors", self.tree(tmp_path, path, include)) == ""

    def test_the_tree_is_clean(self):
        assert run("check-floors") == ""


class TestFunctions:
    def write(self, tmp_path, lines):
        body = "".join("        x += %d;\n" % number for number in range(lines))
        (tmp_path / "a.c").write_text(
            "#include <x.h>\n\nstatic const int table[] = {\n        1,\n};\n\nstatic int long_one(int x,\n"
            "                    int y)\n{\n%s}\n\nint one_more(void)\n{\n        return 0;\n}\n" % body)

    def test_a_long_one_is_named(self, tmp_path):
        self.write(tmp_path, 97)
        said = run("check-functions", tmp_path, code=1)
        assert "a.c:7: long_one is 101 lines long" in said

    def test_the_limit_itself_is_fine_and_the_rest_is_counted(self, tmp_path):
        self.write(tmp_path, 96)
        assert run("check-functions", tmp_path) == "2 functions: median 100 lines, 90% up to 100, longest 100\n"


class TestPackages:
    def test_every_package_has_a_section_and_a_reason(self):
        section = None
        for line in (TOOLS / "packages").read_text().splitlines():
            if line.startswith("["):
                section = line
            elif line and not line.startswith("#"):
                assert section and len(line.split(None, 1)) == 2, line

    def test_an_unknown_section_is_refused(self):
        done = subprocess.run([str(TOOLS / "install-packages"), "nonsense"], capture_output=True, text=True)
        assert done.returncode != 0 and "no section [nonsense]" in done.stderr


class TestSecondRun:
    """tools/run-tests: a test that fails once is named and does not fail the run; one that fails twice does."""

    PLANTED = """
import pathlib, pytest
seen = pathlib.Path(__file__).with_name("seen-by-the-first-run")
def test_good(): pass
def test_left_out(): pytest.skip("not here")
def test_once():
    if not seen.exists():
        seen.touch()
        assert False, "the first time"
"""

    def result(self, tmp_path, *words, code=0):
        said = run("run-tests", tmp_path / "result", *words, code=code)
        return said, (tmp_path / "result").read_text().splitlines()

    def planted(self, tmp_path, text, code=0, workers=2):
        (tmp_path / "test_planted.py").write_text(text)
        return self.result(tmp_path, "pytest", "-q", "-n", workers, "--dist", "loadgroup", "--rootdir", tmp_path, tmp_path, code=code)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_one_that_passes_alone_is_flaky(self, tmp_path, workers):
        said, lines = self.planted(tmp_path, self.PLANTED, workers=workers)
        assert lines == ["counts 1 0 1 1", "flaky test_planted::test_once"]
        assert "once more, alone: test_planted::test_once" in said and "1 passed" in said.splitlines()[-1]

    def test_one_of_a_group_is_flaky_too(self, tmp_path):
        said, lines = self.planted(tmp_path, self.PLANTED + "pytestmark = pytest.mark.xdist_group('together')\n")
        assert lines == ["counts 1 0 1 1", "flaky test_planted::test_once"]
        assert "1 passed" in said.splitlines()[-1], "and it alone was run again"

    def test_one_that_fails_twice_fails(self, tmp_path):
        _, lines = self.planted(tmp_path, self.PLANTED + "def test_bad(): assert False\n", code=1)
        assert lines == ["counts 1 1 1 1", "flaky test_planted::test_once", "failed test_planted::test_bad"]

    def test_a_fixture_that_cannot_be_taken_down_twice_fails(self, tmp_path):
        _, lines = self.planted(tmp_path, """
import pytest
@pytest.fixture
def thing():
    yield
    assert False, "left behind"
def test_good(): pass
def test_with(thing): pass
""", code=1)
        assert lines == ["counts 1 1 0 0", "failed test_planted::test_with"]

    def test_many_failures_are_not_run_again(self, tmp_path):
        text = "import pytest\n@pytest.mark.parametrize('n', range(11))\ndef test_bad(n): assert False\n"
        said, lines = self.planted(tmp_path, text, code=1)
        assert lines[0] == "counts 0 11 0 0" and "once more" not in said

    @pytest.mark.parametrize("text", ["import nothing_of_that_name\n", "x = 1\n"])
    def test_no_test_is_a_failure(self, tmp_path, text):
        _, lines = self.planted(tmp_path, text, code=1)
        assert lines[0].split()[1:3] == ["0", "1"]

    def test_programs_are_run_again_by_name(self, tmp_path):
        (tmp_path / "once.sh").write_text('#!/bin/sh\n[ -e "$0.seen" ] || { touch "$0.seen"; exit 1; }\n')
        (tmp_path / "bad.sh").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "good.sh").write_text('#!/bin/sh\n[ ! -e "$0.seen" ] || exit 1\ntouch "$0.seen"\n')
        for name in ("once", "bad", "good"):
            (tmp_path / (name + ".sh")).chmod(0o755)
        (tmp_path / "meson.build").write_text("project('planted')\n" + "".join(
            "test('%s', find_program('%s.sh'), suite: 'some')\n" % (name, file)
            for name, file in (("a good one", "good"), ("one that fails once", "once"))))
        build = tmp_path / "build"
        subprocess.run(["meson", "setup", build, tmp_path], check=True, capture_output=True)
        _, lines = self.result(tmp_path, "meson", build)
        assert lines[0] == "counts 1 0 0 1" and lines[1].startswith("flaky ") and lines[1].endswith("one that fails once")
        with open(tmp_path / "meson.build", "a") as stream:
            stream.write("test('bad', find_program('bad.sh'))\n")
        (tmp_path / "good.sh.seen").unlink()
        _, lines = self.result(tmp_path, "meson", build, code=1)
        assert lines[0] == "counts 2 1 0 0" and lines[1].endswith("bad")
