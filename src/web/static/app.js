/*
 * What pages do beyond forms and links: they stay current. Every page works without this file. What the server says is
 * shown as text (textContent), never as markup. A feature belongs to an element with a data- attribute; the script is
 * loaded with `async`, so that it also runs while a streamed page is still arriving.
 */

let serverAhead = 0; /* milliseconds that the server's clock is before the reader's */

const find = (selector, root = document) => root.querySelector(selector);
const findAll = (selector, root = document) => Array.from(root.querySelectorAll(selector));

/* Sets a text only when it differs, so that screen readers are not told the same again. */
function say(element, text) {
        if (element && element.textContent !== String(text))
                element.textContent = text;
}

async function getJson(url) {
        const response = await fetch(url, {headers: {Accept: "application/json"}, cache: "no-store"});
        if (!response.ok)
                throw new Error(`${url}: ${response.status}`);
        const date = Date.parse(response.headers.get("Date"));
        if (date)
                serverAhead = date - Date.now();
        return response.json();
}

/* Calls `look` now and then, `seconds` apart, while somebody looks at the page. A failed look is tried again later. */
function repeat(seconds, look) {
        const round = async () => {
                try {
                        if (!document.hidden)
                                await look();
                } catch (error) {
                        console.info(String(error));
                }
                setTimeout(round, seconds * 1000);
        };
        setTimeout(round, seconds * 1000);
}

/* --- times: as the reader's clock says --- */

function ago(milliseconds) {
        const seconds = Math.max(0, Math.round(milliseconds / 1000));
        if (seconds < 60)
                return `${seconds} s ago`;
        if (seconds < 3600)
                return `${Math.floor(seconds / 60)} min ago`;
        return seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} d ago`;
}

function showTime(element) {
        const at = new Date(element.dateTime);
        if (isNaN(at))
                return;
        element.title = at.toLocaleString();
        say(element, "ago" in element.dataset ? ago(Date.now() + serverAhead - at) : at.toLocaleString());
}

function showTimes() {
        findAll("time").forEach(showTime);
}

/* --- small helps --- */

/* The nearest entry of the menu; what is behind it (a log, an operation) belongs to it. */
function markPlace() {
        const here = location.pathname.replace(/^\/admin\/(logs|desktop)\//, "/admin/instances/");
        const near = ({pathname}) => here === pathname || (pathname !== "/admin" && here.startsWith(`${pathname}/`));
        const [place] = findAll("nav a").filter(near).sort((a, b) => b.pathname.length - a.pathname.length);
        if (place)
                place.setAttribute("aria-current", place.pathname === location.pathname ? "page" : "true");
}

/* The clipboard needs HTTPS or localhost; elsewhere the text is selected and copied the old way. */
async function copyText(element) {
        const range = document.createRange();
        range.selectNodeContents(element);
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        if (navigator.clipboard)
                return navigator.clipboard.writeText(element.textContent.trim()).then(() => true, () => false);
        return document.execCommand("copy");
}

function offerCopy(button) {
        const name = button.textContent;
        button.hidden = false;
        button.setAttribute("aria-live", "polite");
        button.addEventListener("click", async () => {
                say(button, (await copyText(document.getElementById(button.dataset.copy))) ? "Copied" : "Press Ctrl+C");
                setTimeout(() => say(button, name), 2000);
        });
}

/* A second click on a slow network sends nothing again; coming back with the back button frees the form. */
function sendOnce(event) {
        const form = event.target;
        if (!form.matches("form[data-once]"))
                return;
        if (form.dataset.sent)
                event.preventDefault();
        form.dataset.sent = "1";
        setTimeout(() => delete form.dataset.sent, 10000);
}

function freeForms() {
        findAll("form[data-sent]").forEach((form) => delete form.dataset.sent);
}

/* --- free machines on the first page --- */

function watchSeats(element) {
        repeat(5, async () => {
                const {count} = await getJson(element.dataset.seats);
                say(find("[data-seats-number]", element), count);
                find("[data-seats-none]").hidden = count > 0;
        });
}

/* --- what became of the code: start-host's errors come back while the page with the PIN is open --- */

function watchHosting(place) {
        const word = find("[data-hosting-word]", place);
        let over = false;
        repeat(3, async () => {
                if (over)
                        return;
                const {outcome, sentence} = await getJson(place.dataset.hosting);
                over = outcome === "done";
                place.hidden = over || outcome === "waiting";
                say(word, sentence);
        });
}

/* --- output that grows: lines are added at the end, and kept in sight while the box is ticked --- */

function growingOutput(output) {
        const box = find("[data-follow-box]"), follow = find("[data-follow]");
        if (box)
                box.hidden = false;
        const show = () => {
                if (follow && follow.checked)
                        output.scrollTop = output.scrollHeight;
        };
        if (follow)
                follow.addEventListener("change", show);
        show();
        return (...parts) => {
                output.append(...parts);
                show();
        };
}

/* A line with colours ("ESC[0;1;31m" says all that holds behind it) as texts and spans, like the template output-line. */
function colouredLine(line) {
        const parts = line.split(/\x1b\[0;?([0-9;]*)m/), nodes = [parts[0]];
        for (let i = 1; i < parts.length; i += 2) {
                const span = document.createElement("span");
                span.className = parts[i].replace(/\d+/g, "sgr-$&").replaceAll(";", " ");
                span.textContent = parts[i + 1];
                nodes.push(parts[i] ? span : parts[i + 1]);
        }
        return nodes;
}

function watchLogs(output) {
        const add = growingOutput(output), live = find("[data-live]"), empty = find("[data-empty]");
        say(live, "New lines appear by themselves.");
        repeat(2, async () => {
                let answer;
                do {
                        answer = await getJson(`${output.dataset.logs}?after=${output.dataset.last}`);
                        if (answer.logs) {
                                add(answer.logs);
                                empty.hidden = true;
                                output.dataset.last = answer.last;
                        }
                } while (answer.logs && answer.logs.split("\n").length > 9999);
        });
}

/* --- one operation --- */

function showOperation(place, operation) {
        const state = find("[data-operation-state]", place), progress = find("progress", place);
        const {done, total} = operation.progress || {};
        say(state, operation.state);
        state.dataset.state = operation.state;
        if (!total)
                return;
        say(find("[data-operation-text]", place), `${done} of ${total} done`);
        progress.hidden = false;
        progress.max = total;
        progress.value = done;
}

function watchOperation(place) {
        const output = find("[data-output]", place), add = growingOutput(output);
        const running = place.hasAttribute("data-running");
        let last = Number(output.dataset.last);
        if (!running && last >= Number(output.dataset.total))
                return;
        const events = new EventSource(`${place.dataset.operation}/output?ansi=yes&after=${last}`);
        events.addEventListener("line", (event) => {
                if (Number(event.lastEventId) <= last)
                        return; /* said again after a reconnection */
                last = Number(event.lastEventId);
                add(...colouredLine(event.data), "\n");
        });
        events.addEventListener("operation", (event) => showOperation(place, JSON.parse(event.data)));
        events.addEventListener("end", () => {
                events.close();
                if (running)
                        location.reload(); /* the page as it is after the end, with its outcome */
        });
}

/* A page that still arrives: its end stays in sight until the reader scrolls up. The output may be yet to come. */
function awaitStream() {
        const output = find("[data-stream]");
        if (output)
                followStream(output);
        else if (document.readyState === "loading")
                setTimeout(awaitStream, 50);
}

function followStream(output) {
        let wanted = true;
        addEventListener("scroll", () => {
                wanted = innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
        });
        const show = () => wanted && scrollTo(0, document.documentElement.scrollHeight);
        const observer = new MutationObserver(show);
        observer.observe(output, {childList: true, characterData: true, subtree: true});
        document.addEventListener("DOMContentLoaded", () => {
                observer.disconnect();
                const cancel = find("form[data-cancel]");
                if (cancel)
                        cancel.hidden = true;
                show();
        });
}

/* A page that is loaded again while something is at work, but not from under the hands of whoever uses it. */
function renew() {
        repeat(2, async () => {
                if (!document.activeElement.matches("a, button, input") && getSelection().isCollapsed)
                        location.reload();
        });
}

/* --- VMs --- */

const seconds = (value) => (typeof value === "number" ? `${value.toFixed(1)} s` : "");

function showLastSeen(row, vm) {
        const place = find('[data-field="last_seen"]', row), old = find("time", place), time = document.createElement("time");
        time.dateTime = vm.last_seen || vm.created_at || "";
        if (vm.last_seen)
                time.dataset.ago = "";
        showTime(time);
        if (old.dateTime !== time.dateTime || "ago" in old.dataset !== "ago" in time.dataset)
                place.replaceChildren(vm.last_seen ? "" : "created, silent since ", time);
}

function showTimings(row, vm) {
        const metrics = vm.metrics || {};
        const parts = [
                ["making", vm.terraform_timing_seconds],
                ["boot", metrics.cloud_init_duration_seconds],
                ["container", metrics.container_startup_duration_seconds],
                ["first picture", metrics.desktop_first_frame_seconds],
        ];
        say(find('[data-field="total"]', row), seconds(vm.total_startup_time_seconds));
        say(find('[data-field="parts"]', row),
            parts.filter(([, value]) => typeof value === "number").map(([name, value]) => `${name} ${seconds(value)}`).join(", "));
}

function showRelease(row, vm, key) {
        const release = find('[data-field="release"]', row), form = find("form", release), box = find("input[name=yes]", form);
        release.hidden = !vm.releasable;
        for (const word of release.querySelectorAll('[data-field="release_word"]')) say(word, vm.email ? "Release" : "Make fresh");
        find('[data-field="taker"]', form).hidden = !vm.email;
        find('[data-field="maker"]', form).hidden = Boolean(vm.email);
        form.action = `/api/admin/vms/${encodeURIComponent(vm.hostname)}/release`;
        const wanted = `${key}-${vm.id}-${vm.generation}`;
        if (form.elements._key.value !== wanted) {
                form.elements._key.value = wanted;
                box.checked = false; /* it was ticked for somebody else */
                release.open = false;
        }
        box.id = `yes-${vm.id}`;
        find("label", form).htmlFor = box.id;
}

function showVm(row, vm, key) {
        const fields = (name) => findAll(`[data-field="${name}"]`, row);
        const [status] = fields("status"), [healthy] = fields("healthy");
        row.dataset.vm = vm.hostname;
        fields("hostname").forEach((element) => say(element, vm.hostname));
        say(status, vm.status);
        status.dataset.state = vm.status;
        const [reset] = fields("needs_reset");
        reset.hidden = !vm.needs_reset;
        say(reset, vm.launched ? "being made fresh" : "must be made anew");
        fields("email").forEach((element) => say(element, vm.email || ""));
        say(fields("in_use")[0], vm.in_use ? "Yes" : "No");
        say(healthy, vm.healthy === true ? "Healthy" : vm.healthy === false ? "Unhealthy" : "N/A");
        healthy.dataset.healthy = healthy.textContent;
        for (const link of [...fields("watch"), ...fields("thumb")])
                link.href = `/admin/desktop/${encodeURIComponent(vm.hostname)}`;
        fields("log")[0].href = `/admin/logs/${encodeURIComponent(vm.hostname)}`;
        showLastSeen(row, vm);
        showTimings(row, vm);
        showRelease(row, vm, key);
}

/* Pictures of the desktops: of those rows only that are in sight, while somebody looks at the page. Asking is what makes a
 * VM send them. */
function watchThumbnails(table) {
        const inSight = new Set(), busy = new Set();
        const observer = new IntersectionObserver((entries) => {
                for (const {target, isIntersecting} of entries)
                        isIntersecting ? inSight.add(target) : inSight.delete(target);
        });
        const look = async (row) => {
                const link = find('[data-field="thumb"]', row), image = find("[data-thumb]", row), hostname = row.dataset.vm;
                const response = await fetch(`${location.origin}/api/admin/vms/${encodeURIComponent(hostname)}/thumbnail`, {cache: "no-store"});
                if (response.status !== 200) {
                        link.hidden = response.status !== 204 || link.hidden;
                        return;
                }
                const reader = new FileReader();
                reader.addEventListener("load", () => {
                        if (row.dataset.vm !== hostname)
                                return;
                        image.src = reader.result;
                        link.hidden = false;
                });
                reader.readAsDataURL(await response.blob());
        };
        const round = async () => {
                const rows = findAll("tbody tr", table);
                for (const row of rows)
                        observer.observe(row);
                if (document.hidden)
                        return;
                for (const row of rows.filter((one) => inSight.has(one) && !busy.has(one))) {
                        busy.add(row);
                        look(row).catch(() => {}).finally(() => busy.delete(row));
                }
        };
        setTimeout(round, 300);
        setInterval(round, 5000);
}

class VmTable {
        constructor(table) {
                this.table = table;
                this.body = find("tbody", table);
                this.rows = new Map(findAll("tr", this.body).map((row) => [row.dataset.vm, row]));
                this.seen = null; /* names of a list that is arriving */
        }

        show(vm) {
                let row = this.rows.get(vm.hostname);
                if (!row) {
                        row = find("[data-vm-row]").content.firstElementChild.cloneNode(true);
                        this.rows.set(vm.hostname, row);
                        this.body.append(row);
                }
                showVm(row, vm, this.table.dataset.key);
                if (this.seen)
                        this.seen.add(vm.hostname);
        }

        remove(hostname) {
                const row = this.rows.get(hostname);
                if (row)
                        row.remove();
                this.rows.delete(hostname);
        }

        begin() {
                this.seen = new Set();
        }

        end() {
                if (this.seen)
                        for (const hostname of [...this.rows.keys()])
                                if (!this.seen.has(hostname))
                                        this.remove(hostname);
                this.seen = null;
                this.count();
        }

        count() {
                find("[data-empty]").hidden = this.rows.size > 0;
        }
}

function showCounts(counts) {
        for (const element of findAll("[data-count]"))
                if (element.dataset.count in counts)
                        say(element, counts[element.dataset.count]);
}

/* The stream begins with every VM, then come the counts, then what changes. */
function watchVms(place) {
        const table = find("[data-vms]", place), vms = table && new VmTable(table), live = find("[data-live]");
        const events = new EventSource(place.dataset.events);
        events.addEventListener("open", () => {
                say(live, "Changes appear by themselves.");
                if (vms)
                        vms.begin();
        });
        events.addEventListener("error", () => say(live, "The connection is lost; trying again."));
        events.addEventListener("counts", (event) => {
                showCounts(JSON.parse(event.data));
                if (vms)
                        vms.end();
        });
        if (!vms)
                return;
        events.addEventListener("vm", (event) => {
                vms.show(JSON.parse(event.data));
                vms.count();
        });
        events.addEventListener("gone", (event) => {
                vms.remove(JSON.parse(event.data).hostname);
                vms.count();
        });
        /* A word from a VM that changes nothing makes no event, but it was a word. */
        repeat(15, async () => {
                const {instances} = await getJson(table.dataset.vms);
                for (const vm of instances)
                        if (vms.rows.has(vm.hostname))
                                showLastSeen(vms.rows.get(vm.hostname), vm);
        });
}

/* --- start --- */

function each(selector, work) {
        findAll(selector).forEach(work);
}

function start() {
        markPlace();
        showTimes();
        each("[data-copy]", offerCopy);
        each("[data-seats]", watchSeats);
        each("[data-hosting]", watchHosting);
        each("[data-logs]", watchLogs);
        each("[data-operation]", watchOperation);
        each("[data-renew]", renew);
        each("[data-events]", watchVms);
        each("[data-thumbnails]", watchThumbnails);
        document.addEventListener("submit", sendOnce);
        addEventListener("pageshow", freeForms);
        setInterval(showTimes, 5000);
}

if (document.readyState === "loading") {
        awaitStream();
        document.addEventListener("DOMContentLoaded", start);
} else {
        start();
}
