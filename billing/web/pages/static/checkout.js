// The buyer's side of a checkout: ask our server, open the PG's window, tell our server, show what it says.
// Nothing the window or this page says is believed: amounts, numbers and outcomes are the server's.
(() => {
  "use strict";

  const page = document.getElementById("main");
  const begin = document.getElementById("begin");
  const label = begin ? begin.textContent : "";
  const GAPS = [2, 3, 5, 8, 13, 21, 34, 55]; // seconds before the next question about a result nobody knows yet
  const PANELS = { failed: "failed", suspended: "suspended", closed: "canceled", not_opened: "not_opened", forged: "forgery" };
  const SDK_SECONDS = 20; // a buyer waits for the PG's script
  const sdk = document.getElementById("sdk");
  const arrived = new Promise((done) => {
    if (sdk) for (const end of ["load", "error"]) sdk.addEventListener(end, done);
  });
  let isBusy = false;
  let isReady = false;

  function show(name, message) {
    for (const panel of page.querySelectorAll("[data-panel]")) panel.hidden = panel.dataset.panel !== name;
    page.dataset.panelNow = name;
    document.querySelector(".switch").hidden = name !== "open"; // another language is another page, which knows less
    const slot = document.getElementById("panel-" + name).querySelector('[data-slot="message"]');
    if (slot) {
      slot.textContent = message || "";
      slot.parentElement.hidden = !message;
    }
    window.scrollTo(0, 0);
    document.getElementById("title-" + name).focus(); // so that it is read aloud
  }

  function reload() {
    location.replace(location.pathname + "?lang=" + document.documentElement.lang);
  }

  function hold(text) {
    isBusy = text !== null;
    begin.setAttribute("aria-disabled", String(isBusy));
    begin.textContent = text === null ? label : text;
  }

  async function post(address, body) {
    const headers = { "content-type": "application/json", accept: "application/json" };
    const response = await fetch(address, { method: "POST", headers: headers, body: JSON.stringify(body), cache: "no-store" });
    return { status: response.status, said: response.ok ? await response.json() : null };
  }

  // --- open the window ---

  async function open() {
    if (isBusy) return;
    hold(page.dataset.opening);
    if (!window.IMP) await Promise.race([arrived, new Promise((done) => setTimeout(done, SDK_SECONDS * 1000))]);
    if (!window.IMP) {
      hold(null);
      show("no_sdk");
      return;
    }
    const chosen = page.querySelector("[name=pay_method]:checked, [name=pay_method][type=hidden]");
    let answer;
    try {
      answer = await post(page.dataset.open, { pay_method: chosen.value });
    } catch {
      hold(null);
      show("offline");
      return;
    }
    if (answer.status === 404 || answer.status === 410) {
      reload();
    } else if (!answer.said) {
      hold(null);
      show(answer.status === 429 || answer.status >= 500 ? "unavailable" : "refused");
    } else if (answer.said.outcome) {
      conclude(answer.said.outcome, { merchant_uid: answer.said.outcome.merchant_uid }, 0);
    } else {
      hold(page.dataset.window);
      request(answer.said);
    }
  }

  function request(opened) {
    let isTold = false;
    const told = (result) => {
      if (isTold) return;
      isTold = true;
      const about = { imp_uid: (result && result.imp_uid) || null, merchant_uid: opened.params.merchant_uid };
      if (result && result.error_code) about.error_code = String(result.error_code).slice(0, 100);
      if (result && result.error_msg) about.error_msg = String(result.error_msg).slice(0, 500);
      complete(about, 0);
    };
    try {
      if (!isReady) window.IMP.init(opened.merchant_code);
      isReady = true;
      window.IMP.request_pay(opened.params, told);
    } catch (error) {
      told({ error_msg: String(error && error.message) });
    }
  }

  // --- learn how it ended ---

  async function complete(about, asked) {
    if (asked === 0) show("checking");
    let outcome = null;
    try {
      outcome = (await post(page.dataset.complete, about)).said;
    } catch {
      // Offline: the money may have moved all the same, so it is asked again.
    }
    conclude(outcome || { completion: "pending" }, about, asked);
  }

  function conclude(outcome, about, asked) {
    if (["paid", "registered", "account_issued"].includes(outcome.completion)) {
      reload();
    } else if (outcome.completion !== "pending") {
      hold(null);
      show(PANELS[outcome.completion] || "failed", outcome.message);
    } else if (asked >= GAPS.length) {
      show("later");
    } else {
      if (page.dataset.panelNow !== "pending") show("pending");
      setTimeout(() => (about.merchant_uid ? complete(about, asked + 1) : reload()), GAPS[asked] * 1000);
    }
  }

  // --- the page ---

  if (begin) {
    begin.addEventListener("click", open);
    begin.disabled = false; // before this, a press would have been lost
  }

  for (const button of page.querySelectorAll('[data-act="again"]')) {
    button.addEventListener("click", () => show("open"));
  }

  for (const button of page.querySelectorAll("[data-copy]")) {
    const copied = page.querySelector('[data-slot="copied"]');
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      copied.hidden = false;
      copied.textContent = page.dataset.copied;
    });
  }

  // A page out of the browser's memory shows what was true when it was left.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) reload();
  });

  if (begin && page.dataset.merchantUid) {
    // A phone's window has come back to us; the server has looked already, and this shows what it saw.
    const came = page.dataset;
    const about = { imp_uid: came.impUid || null, merchant_uid: came.merchantUid };
    if (came.errorCode) about.error_code = came.errorCode;
    if (came.errorMsg) about.error_msg = came.errorMsg;
    history.replaceState(null, "", location.pathname + "?lang=" + document.documentElement.lang);
    complete(about, 0);
  }
})();
