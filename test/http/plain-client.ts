import { once } from 'node:events';
import { connect } from 'node:net';

/** Writes a whole request before it reads a byte, as simple clients do, and returns all that comes back. */
export async function writeThenRead(port: number, head: readonly string[], body: Buffer): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.pause();
  await once(socket, 'connect');
  await new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.write([...head, '', ''].join('\r\n'));
    socket.write(body, resolve);
  });
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

/** Waits for what happens soon but not at once; Jest's own limit ends it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
