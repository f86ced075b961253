import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import path from 'node:path';
import { createServer as createTlsServer } from 'node:tls';

/**
 * For servers that have no TLS of their own. Signed by itself, for localhost and 127.0.0.1, until 2126:
 *   openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj '/CN=distillvlm tests' \
 *     -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout key.pem -out certificate.pem
 */
export const CERTIFICATE = path.join(__dirname, 'tls/certificate.pem');
const KEY = path.join(__dirname, 'tls/key.pem');

export interface ProxyOptions {
  /** Whether clients speak TLS to it. */
  readonly tls?: boolean;
  /** Of what the server says on a connection; then it is cut. */
  readonly maxBytes?: number;
  /** Connections that it cuts at most. */
  readonly maxCuts?: number;
}

/** Between clients and a server on the loopback. */
export class Proxy {
  /** Connections that it has cut. */
  cuts = 0;
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    readonly port: number,
  ) {}

  static async start(
    to: number,
    { tls = false, maxBytes = Infinity, maxCuts = Infinity }: ProxyOptions,
  ): Promise<Proxy> {
    const server = tls ? createTlsServer({ cert: readFileSync(CERTIFICATE), key: readFileSync(KEY) }) : createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new Proxy(server, (server.address() as AddressInfo).port);
    server.on(tls ? 'secureConnection' : 'connection', (client: Socket) => {
      proxy.pass(client, connect(to, '127.0.0.1'), maxBytes, maxCuts);
    });
    return proxy;
  }

  async stop(): Promise<void> {
    this.sockets.forEach((socket) => socket.destroy());
    this.server.close();
    await once(this.server, 'close');
  }

  private pass(client: Socket, server: Socket, maxBytes: number, maxCuts: number): void {
    let bytes = 0;
    const end = (): void => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.on('error', end).on('close', () => {
        this.sockets.delete(socket);
        end();
      });
    }
    client.pipe(server);
    server.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxBytes && this.cuts < maxCuts) {
        this.cuts += 1;
        server.pause();
        client.write(chunk.subarray(0, chunk.length - (bytes - maxBytes)), end);
      } else {
        client.write(chunk);
      }
    });
  }
}
