import { gpuCount, type Settings } from '../../config';
import { Devices } from '../../inference/devices';
import { readyOrRefused } from '../../inference/ready-or-refused';
import { createLogger, LogOutput } from '../../logger';
import type { ModelFacts } from '../../vision-language/facts';
import type { DecodingOptions } from '../../vision-language/results';
import type { ObjectStore } from '../inputs/s3';
import type { Options } from '../options';
import { LocalScorer } from './local-scorer';
import type { Scorer } from './scorer';
import { AHEAD, startScoringService } from './scoring-service';
import { ServerScorer } from './server-scorer';

/** Who does the work. */
export interface ScorerChoice {
  /** What the results depend on because of it. */
  readonly dependsOn: Readonly<Record<string, unknown>>;
  /** Batches under way at a time. */
  readonly window: number;
  /** @param run names what is scored, by everything that the results depend on */
  readonly create: (run: string) => Promise<Scorer>;
}

export interface Circumstances {
  readonly options: Options;
  readonly settings: Settings;
  readonly facts: ModelFacts;
  readonly decoding: DecodingOptions;
  readonly store: ObjectStore;
}

/** In the queue for workers: enough for a hundred of them, and with some kB each nothing for Redis. */
const QUEUE_WINDOW = 256;

/** @throws RunError when it is a server that does not answer */
export async function chooseScorer(circumstances: Circumstances): Promise<ScorerChoice> {
  const { url, queue } = circumstances.options;
  if (url !== undefined) {
    return server(url, circumstances);
  }
  return queue === undefined ? ownProcesses(circumstances) : workersAt(queue, circumstances);
}

/** Requests to a server at a time: half of what its queue holds by default, which is as much as it lets upload. */
const MOST_REQUESTS = 256;

/** Beside the batch that each process works on, one that is read and waits for it. */
function windowOf({ workers }: Options): number {
  return 2 * workers;
}

function ownProcesses({ options, settings, facts, decoding, store }: Circumstances): ScorerChoice {
  const { bundle, workers, batchSize } = options;
  return {
    dependsOn: { bundle: facts.manifestSha256, ...deviceNames(settings) },
    window: windowOf(options) + AHEAD * workers,
    create: async () => {
      // Standard output is for the summary.
      const logger = createLogger('error', new LogOutput(process.stderr));
      const service = startScoringService(bundle, workers, batchSize, settings, logger);
      service.events.on('processGone', ({ reason }) => {
        if (reason === 'hung') {
          tell('A stage took longer than STAGE_TIMEOUT_MS allows it: its photos are tried again, each alone.');
        }
      });
      const devices = Devices.of(service.events);
      const scorer = new LocalScorer(service, decoding, store);
      try {
        await readyOrRefused(service);
      } catch (error) {
        await scorer.close();
        throw error;
      }
      if (gpuCount() > 0) {
        devices.warnings.forEach(tell);
      }
      return scorer;
    },
  };
}

/** A GPU counts otherwise than a CPU. */
function deviceNames({ device, precision }: Settings): Record<string, unknown> {
  const isCpu = device === 'cpu' || (device === 'auto' && gpuCount() === 0);
  return { ...(!isCpu && { device }), ...(precision !== 'auto' && { precision }) };
}

async function server(url: string, { options, settings, decoding, store }: Circumstances): Promise<ScorerChoice> {
  const scorer = await ServerScorer.connect({ url, apiKey: settings.apiKey, options: decoding, store });
  const window = Math.max(1, Math.min(windowOf(options), Math.floor(MOST_REQUESTS / options.batchSize)));
  return { dependsOn: { model: scorer.model }, window, create: () => Promise.resolve(scorer) };
}

/** The results depend on what they do without a queue: such a run goes on with one, and the other way round. */
function workersAt(url: string, { options, settings, facts, decoding }: Circumstances): ScorerChoice {
  const bundle = facts.manifestSha256;
  return {
    dependsOn: { bundle, ...deviceNames(settings) },
    window: QUEUE_WINDOW,
    create: async (run) => {
      // Loaded where they are needed: they take their time.
      const { connectToQueue } = await import('../queue/connection.js');
      const { QueueScorer } = await import('../queue/queue-scorer.js');
      const connection = await connectToQueue({ url, password: settings.queuePassword }, tell);
      const fresh = (options.restart ?? options.retryFailed) === true;
      const scorer = await QueueScorer.create({ connection, bundle, run, decoding, fresh });
      if ((await scorer.workers()) === 0) {
        tell(`No worker with the bundle ${options.bundle} is at the queue; the run goes on when one comes.`);
      }
      return scorer;
    },
  };
}

function tell(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}
