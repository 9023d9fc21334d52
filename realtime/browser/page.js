"use strict";
// Goes around textual.js, which opens the websocket. Where it leads, its token and the size of the letters are this
// page's own, so that all works behind a proxy too.

const asked = new URLSearchParams(location.search);
const terminal = document.getElementById("terminal");

const address = new URL("ws", location.href);
address.protocol = address.protocol.replace("http", "ws");
terminal.dataset.sessionWebsocketUrl = address.href;
terminal.dataset.fontSize = String(Math.min(60, Math.max(6, Number(asked.get("fontsize")) || 16)));

const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  constructor(address) {
    super(asked.has("token") ? `${address}&token=${encodeURIComponent(asked.get("token"))}` : address);
    this.addEventListener("open", () => terminal.querySelector("textarea").focus());
    this.addEventListener("close", (event) => {
      if (event.reason) {
        document.getElementById("reason").textContent = event.reason;
      }
    });
  }

  send(data) {
    if (this.readyState === Socket.OPEN) {  // the focus comes and goes before it is open and after its end
      super.send(data);
    }
  }
};

document.getElementById("again").addEventListener("click", () => location.reload());

// The terminal measures its letters once, when it begins: its font must be there by then.
const begin = window.onload;
window.onload = async (event) => {
  await document.fonts.load("16px 'Roboto Mono'").catch(() => undefined);
  begin(event);
};
