import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below the ports that systems give to whoever listens on any or connects: one of those could be gone when it is needed.
const FIRST_PORT = 10_000;
const LAST_PORT = 32_767;

/** Ports of the loopback that nobody listens on, for what has to know its port before it is started. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = randomInt(FIRST_PORT, LAST_PORT + 1);
    if (await isFree(port)) {
      ports.add(port);
    }
  }
  return [...ports];
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => {
      resolve(false);
    });
    server.listen(port, '127.0.0.1', () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}
