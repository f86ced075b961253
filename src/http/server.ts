import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { answerToUnread } from './unread';

/** The largest form at 2 Mbit/s; Node ends the connection of a request that takes longer to arrive. */
const REQUEST_ARRIVAL_MS = 256_000;

/** A client that takes nothing of its response for so long is gone; that of a request in work has nothing to take. */
const STALL_MS = 30_000;

/** Requests that one connection may have sent ahead; browsers send none. */
const MOST_AHEAD = 16;

export interface ServerOptions {
  readonly host: string;
  readonly port: number;
  /** Further ones are closed at once, while there are file descriptors left to do so. */
  readonly maxConnections: number;
  readonly stallMs?: number;
}

/** What is known of a connection: it has one request in work at a time, so that it holds what one request does. */
interface Line {
  readonly socket: Socket;
  /** To the request in work. */
  response: ServerResponse | undefined;
  /** Requests that were sent before the answer to another; each begins its work when it is called. */
  readonly ahead: (() => void)[];
}

/** Under requests that do not end, a turn of the event loop without any comes within some tenths of a second. */
const QUIET_TURN_MS = 2_000;

/** A listening HTTP server that can be drained. */
export class HttpServer {
  /** Node's own closeIdleConnections leaves out those that have asked nothing yet, such as a browser opens in advance. */
  private readonly lines = new Map<Duplex, Line>();
  private readonly responses = new Set<ServerResponse>();
  /** Connections and requests that have come so far. */
  private arrivals = 0;
  private closing = false;

  private constructor(private readonly server: Server) {
    server.on('connection', (socket: Socket) => {
      this.arrivals += 1;
      this.lines.set(socket, { socket, response: undefined, ahead: [] });
      socket.once('close', () => this.lines.delete(socket));
    });
    server.on('clientError', (error, socket) => {
      // In the middle of a response another would be taken for a part of it.
      if (this.lines.get(socket)?.response?.headersSent === true) {
        socket.destroy();
      } else {
        socket.end(answerToUnread(error), () => socket.destroy());
      }
    });
    server.on('timeout', (socket: Socket) => {
      if (socket.writableLength > 0 || this.lines.get(socket)?.response === undefined) {
        socket.destroy();
      }
    });
  }

  /** @throws the system's error when the address is taken or not this host's. */
  static async listen(
    app: RequestListener,
    { host, port, maxConnections, stallMs = STALL_MS }: ServerOptions,
  ): Promise<HttpServer> {
    const server = createServer({ requestTimeout: REQUEST_ARRIVAL_MS });
    server.maxConnections = maxConnections;
    server.setTimeout(stallMs);
    const http = new HttpServer(server);
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      http.inTurn(request.socket, response, () => {
        app(request, response);
      });
    };
    // `app` refuses a body before a client that asks (Expect: 100-continue) has sent it.
    server.on('request', onRequest).on('checkContinue', onRequest).on('checkExpectation', onRequest);
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
    for (const { socket, response } of this.lines.values()) {
      if (response === undefined) {
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

  /** Begins a request when those before it on its connection have been answered. */
  private inTurn(socket: Socket, response: ServerResponse, begin: () => void): void {
    const line = this.lines.get(socket);
    this.arrivals += 1;
    if (line === undefined || line.ahead.length === MOST_AHEAD) {
      socket.destroy();
      return;
    }
    const work = (): void => {
      this.follow(socket, line, response);
      begin();
    };
    if (line.response !== undefined) {
      line.ahead.push(work);
    } else {
      work();
    }
  }

  private follow(socket: Socket, line: Line, response: ServerResponse): void {
    line.response = response;
    this.responses.add(response);
    if (this.closing) {
      sayLast(response);
    }
    response.once('close', () => {
      this.responses.delete(response);
      line.response = undefined;
      if (socket.destroyed) {
        return;
      }
      const next = line.ahead.shift();
      if (next !== undefined) {
        next();
      } else if (this.closing) {
        socket.destroySoon();
      }
    });
  }
}

/** Tells the client that the connection ends with this response. */
function sayLast(response: ServerResponse): void {
  if (!response.headersSent) {
    response.setHeader('Connection', 'close');
  }
}
