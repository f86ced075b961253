import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Express } from 'express';

/** The largest form at 2 Mbit/s; Node ends the connection of a request that takes longer to arrive. */
const REQUEST_ARRIVAL_MS = 256_000;

/** A listening HTTP server that can be drained. */
export class HttpServer {
  private constructor(private readonly server: Server) {}

  /** @throws the system's error when the address is taken or not this host's. */
  static async listen(app: Express, host: string, port: number): Promise<HttpServer> {
    const server = createServer({ requestTimeout: REQUEST_ARRIVAL_MS }, app);
    // `app` refuses a body before a client that asks (Expect: 100-continue) has sent it.
    server.on('checkContinue', app);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, host, resolve);
    });
    return new HttpServer(server);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Takes no more connections, finishes the requests that are there, and after `timeoutMs` cuts what is left. */
  async close(timeoutMs: number): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    // Node closes the connections that are idle now, and would keep those that become so for its keep-alive time.
    const closeIdle = setInterval(() => {
      this.server.closeIdleConnections();
    }, 50);
    const cut = setTimeout(() => {
      this.server.closeAllConnections();
    }, timeoutMs);
    await closed;
    clearInterval(closeIdle);
    clearTimeout(cut);
  }
}
