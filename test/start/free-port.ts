import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** For what has to know its port before it is started. */
export async function freePort(): Promise<number> {
  const socket = createServer().listen(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address() as AddressInfo;
  socket.close();
  return port;
}
