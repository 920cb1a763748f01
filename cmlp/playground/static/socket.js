// The messages to and from the server; `messages.py` says what they look like.

const TYPES = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array };

/** Header and arrays of a binary message. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let place = 4 + length;
  const parts = {};
  for (const [name, type, size] of header.parts) {
    place += -place & 3;
    parts[name] = new TYPES[type](buffer, place, size);
    place += parts[name].byteLength;
  }
  return { ...header, ...parts };
}

/** A connection to the training; `receive(kind, message)` gets what comes. */
export function connect(receive, name = "points") {
  const address = new URL(name, location.href);
  address.protocol = "ws:";
  address.hash = "";
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  let asked = 0; // commands that the server has not answered yet
  socket.addEventListener("message", ({ data }) => {
    const message = typeof data === "string" ? JSON.parse(data) : unpack(data);
    if (message.is === "done" || message.is === "refused") asked -= 1;
    if (message.is !== "done") receive(message.is, message);
  });
  socket.addEventListener("close", () => receive("gone", {}));
  return {
    send(command, values = {}) {
      if (socket.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify({ do: command, ...values }));
      asked += command !== "drawn";
      return true;
    },
    asked: () => asked,
  };
}
