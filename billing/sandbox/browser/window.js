// What a page of the window does by itself: it brings the result to the merchant, and is sent once.
"use strict";

const result = document.getElementById("result");

if (result && result.dataset.redirect) {
  // Replaced, so that going back does not lead into a window that is done.
  location.replace(result.dataset.redirect);
} else if (result && window.parent !== window && result.dataset.origin) {
  window.parent.postMessage({ iamport: JSON.parse(result.dataset.result) }, result.dataset.origin);
}

const decision = document.getElementById("decision");

if (decision) {
  decision.addEventListener("submit", (event) => {
    if (decision.dataset.sent) event.preventDefault();
    decision.dataset.sent = "yes";
    decision.setAttribute("aria-busy", "true");
  });
  // A page that comes back out of the browser's memory may be sent again: it is asked what became of it.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}
