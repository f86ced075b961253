import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Express } from 'express';

/** The largest form at 2 Mbit/s; Node ends the connection of a request that takes longer to arrive. */
const REQUEST_ARRIVAL_MS = 256_000;

/** A listening HTTP server that can be drained. */
export class HttpServer {
  /**
   * Each connection with the number of its requests that have no full response yet. Node's own closeIdleConnections
   * leaves out those that have asked nothing yet, such as a browser opens in advance.
   */
  private readonly requests = new Map<Socket, number>();
  private closing = false;

  private constructor(private readonly server: Server) {
    server.on('connection', (socket: Socket) => {
      this.requests.set(socket, 0);
      socket.once('close', () => this.requests.delete(socket));
    });
  }

  /** @throws the system's error when the address is taken or not this host's. */
  static async listen(app: Express, host: string, port: number): Promise<HttpServer> {
    const server = createServer({ requestTimeout: REQUEST_ARRIVAL_MS });
    const http = new HttpServer(server);
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      http.follow(request.socket, response);
      app(request, response);
    };
    // `app` refuses a body before a client that asks (Expect: 100-continue) has sent it.
    server.on('request', onRequest).on('checkContinue', onRequest);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, host, resolve);
    });
    return http;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Takes no more connections, finishes the requests that are there, and after `timeoutMs` cuts what is left. */
  async close(timeoutMs: number): Promise<void> {
    this.closing = true;
    const closed = new Promise((resolve) => this.server.close(resolve));
    for (const [socket, requests] of this.requests) {
      if (requests === 0) {
        socket.destroySoon();
      }
    }
    const cut = setTimeout(() => {
      this.server.closeAllConnections();
    }, timeoutMs);
    await closed;
    clearTimeout(cut);
  }

  private follow(socket: Socket, response: ServerResponse): void {
    this.count(socket, 1);
    response.once('close', () => {
      if (this.count(socket, -1) === 0 && this.closing) {
        socket.destroySoon();
      }
    });
  }

  private count(socket: Socket, change: number): number {
    const requests = (this.requests.get(socket) ?? 0) + change;
    if (this.requests.has(socket)) {
      this.requests.set(socket, requests);
    }
    return requests;
  }
}
