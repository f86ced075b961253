import { EventEmitter } from 'node:events';
import { realpath } from 'node:fs/promises';
import { ServiceError } from '../errors';
import { Bundle } from '../onnx/bundle';
import { BundleError } from '../onnx/manifest';
import { factsOf, modelId, type ModelFacts, type ServedModels } from '../vision-language/facts';
import { EVENT_NAMES, type InferenceEvents } from './events';
import { OneAtATime } from './one-at-a-time';
import { readyOrRefused } from './ready-or-refused';
import type { InferenceService, JobResult, PhotoJob, ReadyState } from './service';

/** What drains no longer than this holds up nobody: requests have deadlines of their own. */
const DRAIN_MS = 600_000;

interface Generation {
  readonly models: ServedModels;
  readonly service: InferenceService;
}

/**
 * Inference whose bundles can be read again without dropping a request: the new ones are loaded in processes of their
 * own, and once these are ready, further jobs go there while the old ones finish what they have. Until then, and for good
 * where a new bundle cannot be served, the old ones serve on. Both are in memory meanwhile.
 */
export class ReloadableService implements InferenceService {
  readonly events = new EventEmitter<InferenceEvents>();
  private current: Generation;
  private loading: Generation | undefined;
  private readonly reloading = new OneAtATime(() => this.replace());
  private readonly retired = new Set<Generation>();
  private isClosing = false;

  private constructor(
    private readonly folders: readonly string[],
    private readonly start: (models: ServedModels) => InferenceService,
    models: ServedModels,
  ) {
    this.current = this.generation(models);
  }

  /**
   * @param folders of bundles, at least one
   * @throws BundleError where one of them cannot be served
   */
  static async open(
    folders: readonly string[],
    start: (models: ServedModels) => InferenceService,
  ): Promise<ReloadableService> {
    return new ReloadableService(folders, start, await verifiedModels(folders));
  }

  /** Those that further jobs go to. */
  get models(): ServedModels {
    return this.current.models;
  }

  get state(): ReadyState {
    return this.current.service.state;
  }

  run<J extends PhotoJob>(job: J, signal?: AbortSignal): Promise<JobResult<J>> {
    return this.current.service.run(job, signal);
  }

  /** Where others take over meanwhile, it is they who are to be ready. */
  async ready(): Promise<void> {
    const { current } = this;
    try {
      await current.service.ready();
    } catch (error) {
      if (current === this.current) {
        throw error;
      }
      await this.ready();
    }
  }

  /**
   * Reads the bundles again. What changes while they are read is read after it: who asks meanwhile gets that answer.
   * @throws ServiceError `bundle_refused`, `shutting_down`
   */
  reload(): Promise<ServedModels> {
    return this.reloading.run();
  }

  async close(timeoutMs: number): Promise<void> {
    this.isClosing = true;
    await this.loading?.service.close(0);
    await this.reloading.ended();
    await Promise.all([this.current, ...this.retired].map(({ service }) => service.close(timeoutMs)));
  }

  private async replace(): Promise<ServedModels> {
    try {
      const models = await verifiedModels(this.folders);
      if (this.isClosing) {
        throw new ServiceError('shutting_down', 'The server is shutting down.');
      }
      const next = this.generation(models);
      this.loading = next;
      await this.prepare(next);
      const old = this.current;
      this.current = next;
      this.retire(old);
      return next.models;
    } catch (error) {
      if (error instanceof BundleError) {
        throw new ServiceError('bundle_refused', error.message, { cause: error });
      }
      throw error;
    } finally {
      this.loading = undefined;
    }
  }

  private async prepare({ service }: Generation): Promise<void> {
    try {
      await readyOrRefused(service);
    } catch (error) {
      await service.close(0);
      throw error;
    }
  }

  private retire(old: Generation): void {
    this.retired.add(old);
    void old.service.close(DRAIN_MS).finally(() => this.retired.delete(old));
  }

  private generation(models: ServedModels): Generation {
    const service = this.start(models);
    for (const name of EVENT_NAMES) {
      service.events.on(name, (...values: unknown[]) => {
        (this.events as EventEmitter).emit(name, ...values);
      });
    }
    return { models, service };
  }
}

/** Every process verifies its bundles too; here a bad one is refused before a process is started. */
async function verifiedModels(folders: readonly string[]): Promise<ServedModels> {
  const models: ModelFacts[] = [];
  for (const folder of folders) {
    // A link that is set to another version meanwhile changes nothing for processes that start again.
    const directory = await realpath(folder).catch(() => folder);
    const facts = factsOf(await Bundle.open(directory));
    if (models.some((model) => modelId(model) === modelId(facts))) {
      throw new BundleError(`Two of the bundles are called ${modelId(facts)}; a version stands for one bundle.`);
    }
    models.push(facts);
  }
  return models as unknown as ServedModels;
}
