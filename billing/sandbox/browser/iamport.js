// IMP.init and IMP.request_pay as PortOne's JavaScript SDK V1 documents them, for the sandbox this file came from.
(function () {
  "use strict";

  const root = document.currentScript.src.replace(/iamport\.js([?#].*)?$/, "");
  const origin = new URL(root).origin;
  let code = null;
  let layer = null;

  function failure(params, message) {
    return {
      success: false,
      imp_success: false,
      imp_uid: null,
      merchant_uid: (params && params.merchant_uid) || null,
      error_code: "F1000",
      error_msg: message,
    };
  }

  async function open(params, done) {
    let answer;
    try {
      const body = JSON.stringify({ code: code, params: params });
      const headers = { "content-type": "application/json" };
      const response = await fetch(root + "window", { method: "POST", headers: headers, body: body, credentials: "omit" });
      answer = await response.json();
      if (!answer.window && !answer.refused) throw new Error(answer.message || response.status);
    } catch (error) {
      done(failure(params, "결제창을 열지 못했습니다. (" + error.message + ")"));
      return;
    }
    if (answer.refused && answer.redirect) location.assign(answer.redirect);
    else if (answer.refused) done(answer.refused);
    else if (answer.redirects) location.assign(root + answer.window);
    else show(root + answer.window, done);
  }

  function show(address, done) {
    const shade = document.createElement("div");
    const frame = document.createElement("iframe");
    // A host's policy may forbid style attributes; properties set one by one are none.
    const shadeStyle = { position: "fixed", inset: "0", zIndex: "2147483647", display: "flex", alignItems: "center" };
    Object.assign(shade.style, shadeStyle, { justifyContent: "center", background: "rgba(15, 23, 42, 0.55)" });
    const frameStyle = { width: "min(440px, 100%)", height: "min(720px, 100%)", border: "0", borderRadius: "14px" };
    Object.assign(frame.style, frameStyle, { background: "#fff", boxShadow: "0 24px 64px rgba(0, 0, 0, 0.35)" });
    frame.title = "결제창";
    frame.name = "iamport-window";
    frame.src = address;

    function listen(event) {
      if (event.origin !== origin || event.source !== frame.contentWindow || !event.data || !event.data.iamport) return;
      window.removeEventListener("message", listen);
      shade.remove();
      layer = null;
      done(event.data.iamport);
    }

    window.addEventListener("message", listen);
    shade.append(frame);
    document.body.append(shade);
    layer = shade;
    frame.focus();
  }

  let opening = false;

  window.IMP = {
    init(merchantCode) {
      code = merchantCode;
    },

    request_pay(params, callback) {
      const tell = typeof callback === "function" ? callback : function () {};
      if (!code) {
        tell(failure(params, "IMP.init(가맹점 식별코드)이 호출되지 않았습니다."));
      } else if (opening || layer) {
        tell(failure(params, "이미 결제창이 열려 있습니다."));
      } else {
        opening = true;
        open(params, tell).finally(function () {
          opening = false;
        });
      }
    },
  };
})();
