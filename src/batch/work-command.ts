import { Command } from 'commander';
import type { Settings } from '../config';
import { firstSignal } from '../first-signal';
import { readyOrRefused } from '../inference/ready-or-refused';
import { createLogger } from '../logger';
import { modelId, readModelFacts } from '../vision-language/facts';
import { ObjectStore } from './inputs/s3';
import { LARGEST_BATCH, queueAddress, wholeNumber } from './options';
import { AHEAD, startScoringService } from './scorers/scoring-service';

export interface WorkOptions {
  readonly queue: string;
  readonly bundle: string;
  readonly workers: number;
  readonly lockSeconds: number;
}

/** Adds the arguments of a worker. */
export function withWorkOptions(command: Command, settings: Settings): Command {
  return command
    .requiredOption('--queue <address>', 'redis://host:port; its password is read from QUEUE_PASSWORD', queueAddress)
    .option('--bundle <folder>', 'the model; runs of others are left to other workers', settings.modelDir)
    .option('--workers <number>', 'processes that each hold the bundle', wholeNumber, settings.inferenceProcesses)
    .option('--lock-seconds <number>', 'after which a worker that is not heard of counts as dead', wholeNumber, 30);
}

/**
 * Scores batches of whatever runs are at the queue, until SIGTERM or SIGINT: then those under way are finished.
 * @throws RunError when there is no queue, BundleError when the bundle cannot be served
 */
export async function work(options: WorkOptions, settings: Settings): Promise<void> {
  const { bundle, workers: processes } = options;
  const logger = createLogger(settings.logLevel);
  const facts = await readModelFacts(bundle);
  // Loaded where they are needed: they take their time.
  const { connectToQueue, endConnection } = await import('./queue/connection.js');
  const { QueueWorker } = await import('./queue/worker.js');
  const address = { url: options.queue, password: settings.queuePassword };
  const connection = await connectToQueue(address, (reason) => {
    logger.warn({ event: 'queue_lost', reason });
  });
  const told = new AbortController();
  const untilTold = firstSignal('SIGTERM', 'SIGINT').then(() => {
    told.abort();
  });
  const service = startScoringService(bundle, processes, LARGEST_BATCH, settings, logger);
  let worker: InstanceType<typeof QueueWorker> | undefined;
  try {
    await Promise.race([readyOrRefused(service), untilTold]);
    if (!told.signal.aborted) {
      worker = new QueueWorker({
        connection,
        bundle: facts.manifestSha256,
        service,
        // Beside the batch that each process works on, one that is decoded meanwhile.
        concurrency: (1 + AHEAD) * processes,
        store: new ObjectStore({ pathStyle: settings.s3PathStyle, maxAttempts: settings.s3MaxAttempts }),
        lockSeconds: options.lockSeconds,
        logger,
      });
      logger.info({ event: 'ready', model: modelId(facts), processes });
      await untilTold;
    }
  } finally {
    logger.info({ event: 'closing' });
    await endConnection(connection, worker?.close() ?? Promise.resolve());
    await service.close(0);
  }
}
