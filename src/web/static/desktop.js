/*
 * The seat page: noVNC for the picture, and around it what makes a tab a place to work in: it connects again by itself and
 * says meanwhile what is going on, follows the tab's size, carries the clipboard, offers keys and a touch keyboard, and
 * asks for less when the way is slow. Administrators' pages are the same with another role: `view` sends nothing,
 * `assist` does. How a socket ends, and what each code means, stands in docs/desktop.md.
 */
import RFB from "novnc/core/rfb.js";
import {initLogging} from "novnc/core/util/logging.js";
import KeyTable from "novnc/core/input/keysym.js";

const find = (selector, root = document) => root.querySelector(selector);
const findAll = (selector, root = document) => Array.from(root.querySelectorAll(selector));
const {role, socket, state: stateUrl, hostname} = document.body.dataset;
const seat = role === "seat", screen = find("#screen");

const RETRY_FIRST = 200, RETRY_MOST = 2000; /* milliseconds */
const LOOK_EVERY = 5000;
const SLEPT = 30000; /* a timer this late: the computer slept, and the socket is not to be trusted */

let rfb = null, channel = null;
let connected = false, seen = false; /* the picture is there; it was there once */
let connectedAt = 0, heardAt = 0; /* on the page's clock */
let retry = RETRY_FIRST, timer = null, over = false;
let known = {}; /* what the allocator last said about the seat */

/* Never with the name and password that the page's own address may carry: no request takes them from there. */
const at = (path) => location.origin + path;

if (location.search.includes("welcome"))
        history.replaceState(null, "", "/desktop"); /* said once, not at each reload */

function say(element, text) {
        if (element && element.textContent !== text)
                element.textContent = text;
}

/* --- the banner: why there is no picture ------------------------------------------------------------------------------ */

function banner(text, more = "", action = null, busy = true) {
        const place = find("#banner"), link = find("[data-action]", place);
        place.hidden = !text;
        if (!text)
                return;
        say(find("[data-text]", place), text);
        say(find("[data-more]", place), more);
        say(find("[data-count]", place), "");
        find("[data-spinner]", place).hidden = !busy;
        link.hidden = !action;
        if (action) {
                say(link, action.text);
                link.href = action.href;
        }
}

const again = {text: "Use it here", href: "/"}, home = {text: "Get a machine", href: "/"};
const list = {text: "All VMs", href: "/admin/instances"};

/* Ends for good: code of the close frame -> [sentence, more, link]. */
const ends = {
        4001: ["Opened in another browser", "One browser at a time has this desktop. Nothing on it was lost.", again],
        4003: seat ? ["Your seat was released", "This desktop is not yours any more.", home]
                   : ["The seat was released", "", list],
        4005: ["Helping is not allowed", "The participant has to allow it, or has ended it.",
               {text: "Watch", href: `/admin/desktop/${encodeURIComponent(hostname)}`}],
        4008: ["Too many windows", "This desktop is open in as many windows as are allowed. Close one and load this page again.",
               {text: "Try again", href: location.href}],
};

/* What the machine is doing while its agent is not connected. */
function machineWords() {
        if (known.status === "error")
                return ["Your machine reported an error", "It is still yours. Please tell your instructor."];
        if (seen || known.status === "unknown")
                return ["Your machine is restarting", "Your files stay. This page comes back by itself."];
        if (known.status === "initializing")
                return ["Your machine is starting", "This page opens the desktop by itself."];
        return ["Waiting for your machine", "It is connecting. This page opens the desktop by itself."];
}

function wordsFor(code) {
        if (navigator.onLine === false)
                return ["You are offline", "This page comes back by itself when the network does."];
        if (code === 4010)
                return machineWords();
        if (code === 1013 || code === 1000)
                return [seen ? "Your desktop is restarting" : "Your desktop is starting", ""];
        if (code === 4011)
                return ["The connection to your machine was lost", ""];
        return [seen ? "Connection lost" : "No connection", ""];
}

/* --- noVNC, as this page wants it -------------------------------------------------------------------------------------- */

initLogging("none"); /* what matters is said in the page */

const NARROW = 740; /* a desktop has at least this width, a terminal of 80 columns: on a phone it is shown smaller, not cut */

class Desktop extends RFB {
        _requestRemoteResize() {
                const factor = Math.max(1, NARROW / innerWidth);
                this._screenSize = () => {
                        const {w, h} = RFB.prototype._screenSize.call(this);
                        return {w: Math.round(w * factor), h: Math.round(h * factor)};
                };
                try {
                        super._requestRemoteResize();
                } finally {
                        delete this._screenSize;
                }
        }
}

function fit() {
        if (rfb)
                rfb.scaleViewport = !seat || innerWidth < NARROW;
}

addEventListener("resize", fit);

/* --- connecting --------------------------------------------------------------------------------------------------------- */

function socketUrl(path = socket) {
        const url = new URL(at(path));
        url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
        return url.href;
}

/* The last picture stays in sight, dimmed, until there is a new one. */
function keepGhost() {
        const canvas = find("canvas", screen), old = find("#ghost");
        if (!canvas || !canvas.width || !seen || canvas.id === "ghost")
                return;
        const ghost = document.createElement("canvas");
        ghost.id = "ghost";
        ghost.width = canvas.width;
        ghost.height = canvas.height;
        ghost.getContext("2d").drawImage(canvas, 0, 0);
        if (old)
                old.remove();
        screen.prepend(ghost);
}

function parseReason(reason) {
        try {
                return JSON.parse(reason) || {};
        } catch {
                return {};
        }
}

function closed(event) {
        const {retry: wanted = 0} = parseReason(event.reason);
        if (connected)
                keepGhost();
        connected = false;
        rfb = null;
        if (ends[event.code]) {
                over = true;
                return banner(ends[event.code][0], ends[event.code][1], ends[event.code][2], false);
        }
        if (event.code === 4004)
                return leave();
        if (event.code === 4012)
                return elsewhere();
        wait(event.code, Math.max(wanted, retry));
        retry = Math.min(retry * 2, RETRY_MOST);
        look();
}

function leave() {
        over = true;
        location.replace(seat ? "/?desktop=none" : "/admin/instances");
}

/* Counts down while it waits, so that it is seen to be alive. */
function wait(code, milliseconds) {
        const until = Date.now() + milliseconds;
        const round = () => {
                const left = until - Date.now();
                const [text, more] = wordsFor(code);
                if (left <= 0)
                        return connect();
                banner(text, more);
                say(find("[data-count]"), left > 900 ? `Trying again in ${Math.ceil(left / 1000)} s` : "Trying again");
                timer = setTimeout(round, Math.min(left, 500));
        };
        clearTimeout(timer);
        round();
}

function connect(url = socketUrl(), protocols = ["binary"]) {
        clearTimeout(timer);
        if (over)
                return;
        try {
                channel = new WebSocket(url, protocols);
        } catch {
                return wait(1006, RETRY_MOST);
        }
        const mine = channel;
        mine.binaryType = "arraybuffer";
        mine.addEventListener("close", (event) => mine === channel && closed(event));
        mine.addEventListener("message", () => (heardAt = performance.now()));
        rfb = new Desktop(screen, mine, {shared: true});
        rfb.background = "transparent";
        rfb.viewOnly = role === "view";
        rfb.resizeSession = seat;
        fit();
        rfb.addEventListener("connect", () => awaitPicture(mine));
        rfb.addEventListener("clipboard", (event) => fromDesktop(event.detail.text));
        setQuality();
}

/* Another allocator has the machine: it takes a ticket instead of the cookie. An administrator has to be known there. */
async function elsewhere() {
        const {link} = document.body.dataset;
        if (!seat && link) {
                over = true;
                const there = {text: "Open it there", href: `${link}/admin/desktop/${encodeURIComponent(hostname)}${location.search}`};
                return banner("This machine is connected to another allocator", link, there, false);
        }
        if (!seat)
                return setTimeout(() => location.reload(), RETRY_MOST); /* the next page knows where */
        try {
                const response = await fetch(at("/api/desktop/ticket"), {method: "POST", headers: {Accept: "application/json"}});
                const {url, protocols} = await response.json();
                if (url.startsWith("ws") && (!link || new URL(url).host !== new URL(link).host))
                        return setTimeout(() => location.reload(), RETRY_MOST); /* this page may not speak to it: the next one may */
                return connect(url.startsWith("/") ? socketUrl(url) : url, protocols);
        } catch {
                wait(1006, RETRY_MOST);
        }
}

/* What is open now is not to be trusted: its end may never be heard. */
function connectNow(text = "Connecting again") {
        retry = RETRY_FIRST;
        if (over)
                return;
        banner(text);
        if (channel) {
                const old = channel;
                channel = null;
                if (connected)
                        keepGhost();
                connected = false;
                old.close();
                if (rfb && rfb._screen)
                        rfb._screen.remove();
        }
        connect();
}

/* --- the first picture -------------------------------------------------------------------------------------------------- */

const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});

/* Pixels that were never drawn are transparent. */
function hasPicture() {
        const canvas = findAll("canvas", screen).find((element) => element.id !== "ghost");
        if (!canvas || !canvas.width || !canvas.height)
                return false;
        probe.clearRect(0, 0, 1, 1);
        probe.drawImage(canvas, canvas.width >> 1, canvas.height >> 1, 1, 1, 0, 0, 1, 1);
        return probe.getImageData(0, 0, 1, 1).data[3] === 255;
}

function awaitPicture(mine) {
        if (mine !== channel || mine.readyState !== WebSocket.OPEN)
                return;
        if (!hasPicture())
                return document.hidden ? setTimeout(awaitPicture, 50, mine) : requestAnimationFrame(() => awaitPicture(mine));
        connected = true;
        connectedAt = performance.now();
        retry = RETRY_FIRST;
        banner("");
        const ghost = find("#ghost");
        if (ghost)
                ghost.remove();
        document.body.dataset.connected = String(Number(document.body.dataset.connected || 0) + 1);
        rfb._canvas.tabIndex = 0;
        if (!document.activeElement || document.activeElement === document.body)
                rfb.focus();
        if (!seen && seat)
                report(performance.now());
        seen = true;
        readClipboard();
}

/* The page's clock starts with the click that led here, redirects included. */
function report(milliseconds) {
        document.body.dataset.firstFrame = milliseconds.toFixed(0);
        if (document.hidden)
                return; /* a tab in the background draws when it likes */
        fetch(at("/api/desktop/first-frame"), {
                method: "POST", headers: {"Content-Type": "application/json"},
                body: JSON.stringify({seconds: milliseconds / 1000}),
        }).catch(() => {});
}

/* --- what the allocator says about the seat, and how long it took to say it -------------------------------------------- */

function notice(text) {
        const place = find("#notice");
        place.hidden = !text;
        say(place, text);
}

function showState() {
        const button = find("[data-assist]"), word = find("[data-assist-word]");
        if (known.assisting)
                notice("The instructor is helping on your desktop");
        else
                notice(known.watching ? "The instructor is watching" : "");
        if (!button)
                return;
        button.setAttribute("aria-pressed", String(Boolean(known.assist)));
        say(word, known.assist ? "The instructor may use your mouse and keyboard." : "");
}

let failed = 0; /* looks in a row */

async function look() {
        const began = performance.now();
        try {
                const response = await fetch(at(stateUrl || "/healthz"), {
                        headers: {Accept: "application/json"}, cache: "no-store", signal: AbortSignal.timeout(LOOK_EVERY),
                });
                failed = 0;
                measure(performance.now() - began);
                if (!stateUrl)
                        return;
                if (response.status === 404 && !over) {
                        over = true;
                        const [text, more, action] = ends[4003];
                        return banner(text, more, action, false);
                }
                if (response.ok) {
                        known = await response.json();
                        showState();
                        /* It has no socket of this seat: the way between has forgotten this one, and did not say so. */
                        if (known.open === 0 && connected && connectedAt < began)
                                connectNow("Connection lost");
                }
        } catch {
                /* Without a picture the banner says what is wrong. With one: neither answers nor pixels come any more. */
                if (++failed >= 2 && connected && heardAt < began)
                        connectNow("Connection lost");
        }
}

let lastLook = Date.now();
setInterval(() => {
        const late = Date.now() - lastLook - LOOK_EVERY;
        lastLook = Date.now();
        if (late > SLEPT && !document.hidden && !over) /* in a hidden tab browsers slow timers down */
                connectNow("Your computer was asleep");
        if (!document.hidden && !over)
                look();
}, LOOK_EVERY);
addEventListener("online", () => connectNow());
document.addEventListener("visibilitychange", () => {
        if (!document.hidden && !over)
                connected ? look() : connectNow();
});

/* --- quality: sharp, middle or fast, by the time that an answer takes beside the picture -------------------------------- */

const qualities = {sharp: [8, 1], middle: [6, 2], fast: [2, 6]};
let chosen = "auto", step = "middle", votes = 0, wanted = "middle";

function setQuality() {
        const [quality, compression] = qualities[chosen === "auto" ? step : chosen];
        if (rfb) {
                rfb.qualityLevel = quality;
                rfb.compressionLevel = compression;
        }
}

function measure(milliseconds) {
        const vote = milliseconds < 90 ? "sharp" : milliseconds < 350 ? "middle" : "fast";
        votes = vote === wanted ? votes + 1 : 1;
        wanted = vote;
        say(find("[data-facts]"), `Answers take ${Math.round(milliseconds)} ms.`);
        if (votes >= 2 && step !== wanted) {
                step = wanted;
                setQuality();
        }
}

/* --- the clipboard ------------------------------------------------------------------------------------------------------- */

const clip = find("#clip");
let shared = null; /* what both sides have */

async function mayRead() {
        try {
                return (await navigator.permissions.query({name: "clipboard-read"})).state;
        } catch {
                return "denied"; /* Firefox and Safari ask each time or never: the panel is there for them */
        }
}

/* Only while the tab has the focus; a browser that has not been allowed yet is asked by the button in the panel alone. */
async function readClipboard(ask = false) {
        if (role === "view" || !connected || !navigator.clipboard || !navigator.clipboard.readText || !document.hasFocus())
                return;
        if (!ask && (await mayRead()) !== "granted")
                return;
        try {
                toDesktop(await navigator.clipboard.readText());
                showClipboardHelp();
        } catch {
                showClipboardHelp();
        }
}

function toDesktop(text) {
        if (!rfb || !connected || text === shared || !text)
                return;
        shared = text;
        if (clip)
                clip.value = text;
        rfb.clipboardPasteFrom(text);
}

async function fromDesktop(text) {
        if (role === "view" || text === shared)
                return;
        shared = text;
        clip.value = text;
        try {
                await navigator.clipboard.writeText(text);
        } catch {
                /* not allowed, or no focus: it stands in the panel */
        }
}

async function showClipboardHelp() {
        const allow = find('[data-clip="allow"]'), how = find("[data-how]"), state = await mayRead();
        if (!allow)
                return;
        allow.hidden = state !== "prompt" || !navigator.clipboard;
        say(how, state === "granted" ? "This computer and the desktop share their clipboard. The text below is what they share."
                                     : "What is copied on the desktop appears here. What you type or paste here can be pasted there.");
}

if (clip) {
        clip.addEventListener("input", () => toDesktop(clip.value));
        find('[data-clip="allow"]').addEventListener("click", () => readClipboard(true));
        find('[data-clip="copy"]').addEventListener("click", async (event) => {
                const button = event.currentTarget;
                clip.select();
                const done = navigator.clipboard ? await navigator.clipboard.writeText(clip.value).then(() => true, () => false)
                                                 : document.execCommand("copy");
                say(button, done ? "Copied" : "Press Ctrl+C");
                setTimeout(say, 2000, button, "Copy to this computer");
        });
        addEventListener("focus", () => readClipboard());
        screen.addEventListener("pointerenter", () => readClipboard());
}

/* --- keys and the touch keyboard ------------------------------------------------------------------------------------------ */

const keysym = (name) => KeyTable[`XK_${name}`];

function sendKeys(names) {
        for (const name of names)
                rfb.sendKey(keysym(name), null, true);
        for (const name of names.reverse())
                rfb.sendKey(keysym(name), null, false);
}

function sendText(text) {
        for (const character of text) {
                const code = character.codePointAt(0);
                rfb.sendKey(character === "\n" ? keysym("Return") : code < 0x100 ? code : 0x01000000 | code, null);
        }
}

findAll("[data-keys]").forEach((button) => button.addEventListener("click", () => rfb && sendKeys(button.dataset.keys.split(" "))));
findAll("[data-hold]").forEach((button) => button.addEventListener("click", () => {
        const down = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(down));
        if (rfb)
                rfb.sendKey(keysym(button.dataset.hold), null, down);
}));

/* A field that is never seen brings the phone's keyboard up. It is never empty, so that Backspace has something to take. */
const touch = find("#touch"), FILL = "________________";

function fillTouch() {
        touch.value = FILL;
        touch.setSelectionRange(FILL.length, FILL.length);
}

touch.addEventListener("input", () => {
        const text = touch.value;
        let same = 0;
        while (same < text.length && same < FILL.length && text[same] === FILL[same])
                same++;
        if (rfb) {
                for (let n = FILL.length - same; n > 0; n--)
                        sendKeys(["BackSpace"]);
                sendText(text.slice(same));
        }
        if (same < 4 || text.length > 64 || same < FILL.length || text.length > FILL.length)
                fillTouch();
});
touch.addEventListener("keydown", (event) => {
        const names = {Enter: "Return", Tab: "Tab", Escape: "Escape", ArrowLeft: "Left", ArrowRight: "Right", ArrowUp: "Up", ArrowDown: "Down"};
        if (!names[event.key] || !rfb)
                return;
        event.preventDefault();
        sendKeys([names[event.key]]);
});

/* --- tools ---------------------------------------------------------------------------------------------------------------- */

const bar = find("#bar"), handle = find("#handle");

function showPanel(name) {
        for (const panel of findAll(".panel")) {
                const button = find(`[data-tool="${panel.id}"]`), open = panel.id === name && panel.hidden;
                panel.hidden = !open;
                if (button)
                        button.setAttribute("aria-expanded", String(open));
                if (open && panel.id === "clipboard")
                        showClipboardHelp();
        }
        if (rfb && findAll(".panel").every((panel) => panel.hidden))
                rfb.focus();
}

function openBar(open) {
        bar.dataset.open = open ? "yes" : "no";
        handle.setAttribute("aria-expanded", String(open));
        if (!open)
                showPanel(null);
}

/* The desktop has every key, Tab included: these three together lead out of it, Escape leads back. */
document.addEventListener("keydown", (event) => {
        const leave = ["Control", "Alt", "Shift"].includes(event.key) && event.ctrlKey && event.altKey && event.shiftKey;
        const back = event.key === "Escape" && bar.dataset.open === "yes" && !screen.contains(event.target);
        if (!leave && !back)
                return;
        event.preventDefault();
        event.stopPropagation();
        openBar(leave);
        if (!leave)
                return;
        if (rfb)
                rfb._keyboard._allKeysUp(); /* the desktop does not see them released */
        handle.focus();
}, true);

async function fullScreen() {
        try {
                if (document.fullscreenElement)
                        return await document.exitFullscreen();
                await document.documentElement.requestFullscreen();
                if (navigator.keyboard && navigator.keyboard.lock)
                        await navigator.keyboard.lock(["Escape", "Tab", "AltLeft", "AltRight", "MetaLeft", "MetaRight"]);
        } catch {
                /* a browser that refuses has its own key for it */
        }
}

const tools = {
        full: fullScreen,
        touch: () => {
                fillTouch();
                touch.focus();
        },
};

handle.addEventListener("click", () => openBar(bar.dataset.open !== "yes"));
findAll("[data-tool]").forEach((button) => button.addEventListener("click", () => {
        const work = tools[button.dataset.tool];
        return work ? work() : showPanel(button.dataset.tool);
}));
document.addEventListener("fullscreenchange", () => say(find('[data-tool="full"]'), document.fullscreenElement ? "Leave full screen" : "Full screen"));
screen.addEventListener("pointerdown", () => bar.dataset.open === "yes" && openBar(false));
if (find('[data-tool="full"]'))
        find('[data-tool="full"]').hidden = !document.fullscreenEnabled;
if (find('[data-tool="touch"]'))
        find('[data-tool="touch"]').hidden = !matchMedia("(pointer: coarse)").matches && !("ontouchstart" in window);
findAll("[data-quality]").forEach((button) => button.addEventListener("click", () => {
        chosen = button.dataset.quality;
        findAll("[data-quality]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        setQuality();
}));
findAll("[data-welcome]").forEach((button) => button.addEventListener("click", () => {
        find("#welcome").remove();
        if (rfb)
                rfb.focus();
}));
findAll("[data-assist]").forEach((button) => button.addEventListener("click", async () => {
        const allow = button.getAttribute("aria-pressed") !== "true";
        await fetch(at("/api/desktop/assist"), {
                method: "POST", headers: {"Content-Type": "application/json", Accept: "application/json"}, body: JSON.stringify({allow}),
        }).catch(() => {});
        look();
}));

connect();
if (stateUrl)
        look();
