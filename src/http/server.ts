import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

/** The largest form at 2 Mbit/s; Node ends the connection of a request that takes longer to arrive. */
const REQUEST_ARRIVAL_MS = 256_000;

/** Under requests that do not end, a turn of the event loop without any comes within some tenths of a second. */
const QUIET_TURN_MS = 2_000;

/** A listening HTTP server that can be drained. */
export class HttpServer {
  /**
   * Each connection with the number of its requests that have no full response yet. Node's own closeIdleConnections
   * leaves out those that have asked nothing yet, such as a browser opens in advance.
   */
  private readonly requests = new Map<Socket, number>();
  private readonly responses = new Set<ServerResponse>();
  /** Connections and requests that have come so far. */
  private arrivals = 0;
  private closing = false;

  private constructor(private readonly server: Server) {
    server.on('connection', (socket: Socket) => {
      this.arrivals += 1;
      this.requests.set(socket, 0);
      socket.once('close', () => this.requests.delete(socket));
    });
  }

  /** @throws the system's error when the address is taken or not this host's. */
  static async listen(app: RequestListener, host: string, port: number): Promise<HttpServer> {
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

  /**
   * Takes no more connections, finishes the requests that are there, and after `timeoutMs` cuts what is left.
   * @param graceMs how long connections are still taken, and how long one that was taken last may stay silent. Whoever
   *   asks meanwhile gets an answer and is told to ask no more by this connection: closed at once, it would take a
   *   request with it that was on its way.
   */
  async close(timeoutMs: number, graceMs = 0): Promise<void> {
    this.closing = true;
    this.responses.forEach(sayLast);
    const cut = setTimeout(() => {
      this.server.closeAllConnections();
    }, timeoutMs);
    await sleep(graceMs);
    await this.takeAllThatWait();
    const closed = new Promise((resolve) => this.server.close(resolve));
    await sleep(graceMs);
    for (const [socket, requests] of this.requests) {
      if (requests === 0) {
        socket.destroySoon();
      }
    }
    await closed;
    clearTimeout(cut);
  }

  /**
   * The system cuts off connections that it has let in and this process has not taken yet: after a turn of the event loop
   * that brought nothing there are none.
   */
  private async takeAllThatWait(): Promise<void> {
    const endMs = performance.now() + QUIET_TURN_MS;
    let before: number;
    do {
      before = this.arrivals;
      await nextTurn();
    } while (this.arrivals > before && performance.now() < endMs);
  }

  private follow(socket: Socket, response: ServerResponse): void {
    this.arrivals += 1;
    this.count(socket, 1);
    this.responses.add(response);
    if (this.closing) {
      sayLast(response);
    }
    response.once('close', () => {
      this.responses.delete(response);
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

/** Tells the client that the connection ends with this response. */
function sayLast(response: ServerResponse): void {
  if (!response.headersSent) {
    response.setHeader('Connection', 'close');
  }
}
