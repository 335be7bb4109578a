// Both ends of WebSockets, by the library whose module is named.
//
// node websocket.mjs MODULE serve PORT: says everything back as it came; prints `ready`, and how each connection closed.
// node websocket.mjs MODULE serve2 PORT: the same over HTTP/2, by extended CONNECT and without compression.
// node websocket.mjs MODULE call URL CERTIFICATE KEY TRUST: tries what a connection must carry, prints it as JSON.
// node websocket.mjs MODULE stay URL CERTIFICATE KEY TRUST: prints `open`, and how the connection closed.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';

const [module, part, where, certificate, key, trust] = process.argv.slice(2);
const { WebSocket, WebSocketServer } = await import(pathToFileURL(module));

const converse = (socket) => {
  socket.on('message', (message, isBinary) => {
    const text = isBinary ? '' : message.toString();
    if (text.startsWith('close ')) return socket.close(Number(text.slice(6)), 'as you wish');
    if (text === 'ping me') return socket.ping('are you there');
    return socket.send(message, { binary: isBinary });
  });
  socket.on('pong', (payload) => socket.send(`pong ${payload}`));
  socket.on('close', (code, reason) => console.log(`closed ${code} ${reason}`));
  socket.on('error', () => {});
};

const serve = () => {
  const http = createServer();
  const server = new WebSocketServer({
    server: http,
    perMessageDeflate: { threshold: 0 },
    handleProtocols: (offered) => (offered.has('chat.v2') ? 'chat.v2' : false),
  });
  server.on('connection', converse);
  http.listen(Number(where), '127.0.0.1', () => console.log('ready'));
};

// The library itself knows HTTP/1.1 alone: it is handed the stream once that is open.
const serve2 = () => {
  const http = createHttp2Server({ settings: { enableConnectProtocol: true } });
  http.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    if (headers[':method'] !== 'CONNECT' || headers[':protocol'] !== 'websocket') {
      return stream.respond({ ':status': 400 }, { endStream: true });
    }
    const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    const protocol = offered.includes('chat.v2') ? { 'sec-websocket-protocol': 'chat.v2' } : {};
    stream.respond({ ':status': 200, ...protocol });
    const socket = new WebSocket(null, undefined, { autoPong: true });
    converse(socket);
    socket.setSocket(stream, Buffer.alloc(0), { allowSynchronousEvents: true, maxPayload: 1 << 24 });
  });
  http.listen(Number(where), '127.0.0.1', () => console.log('ready'));
};

const connect = async (protocols, deflate) => {
  const [cert, priv, ca] = [certificate, key, trust].map((path) => readFileSync(path));
  const options = { cert, key: priv, ca, servername: 'localhost', perMessageDeflate: deflate, handshakeTimeout: 10000 };
  const socket = new WebSocket(where, protocols, options);
  await once(socket, 'open');
  return socket;
};

const answer = async (socket, message) => {
  socket.send(message);
  const [data] = await once(socket, 'message');
  return data;
};

const call = async () => {
  const found = {};
  const socket = await connect(['chat.v1', 'chat.v2'], false);
  found.protocol = socket.protocol;
  found.plain = socket.extensions;
  found.text = (await answer(socket, 'grüß dich')).toString();
  const long = Buffer.alloc(1 << 20, 'abcdefg');
  for (let at = 0; at < long.length; at += 10_007) {
    socket.send(long.subarray(at, at + 10_007), { fin: at + 10_007 >= long.length });
  }
  const [fragmented] = await once(socket, 'message');
  found.fragmented = fragmented.equals(long);
  socket.ping('hello');
  found.pong = (await once(socket, 'pong'))[0].toString();
  found.pinged = (await answer(socket, 'ping me')).toString();
  socket.send('close 4001');
  const [code, reason] = await once(socket, 'close');
  found.closed = `${code} ${reason}`;
  const deflating = await connect([], { threshold: 0 });
  found.deflating = deflating.extensions;
  found.deflated = (await answer(deflating, long)).equals(long);
  deflating.close(4002, 'enough');
  await once(deflating, 'close');
  console.log(JSON.stringify(found));
};

const stay = async () => {
  const socket = await connect([], false);
  console.log('open');
  const [code, reason] = await once(socket, 'close');
  console.log(`closed ${code} ${reason}`);
};

await { serve, serve2, call, stay }[part]();
