import { EventEmitter } from 'node:events';
import type { InferenceEvents } from '../../src/inference/events';
import type { InferenceService, JobResult, PhotoJob, ReadyState } from '../../src/inference/service';
import { decodePhoto } from '../../src/image/decode';
import type { AnswerResult, CaptionResult, DecodingOptions, PhotoFacts } from '../../src/vision-language/results';

/**
 * Inference without a model: photos are really decoded, so that broken ones fail as they do in earnest, and the words
 * are made up from the job, so that a test sees what arrived.
 */
export class FakeService implements InferenceService {
  state: ReadyState = 'ready';
  readonly events = new EventEmitter<InferenceEvents>();
  readonly jobs: PhotoJob[] = [];
  /** Signals of the jobs that have begun, in their order. */
  readonly signals: (AbortSignal | undefined)[] = [];
  /** What results say of the cache. */
  cached: ((job: PhotoJob) => boolean) | undefined;
  /** What happens before a result: by default nothing. */
  before: (job: PhotoJob, signal?: AbortSignal) => Promise<void> = () => Promise.resolve();

  async run<J extends PhotoJob>(job: J, signal?: AbortSignal): Promise<JobResult<J>> {
    this.jobs.push(job);
    this.signals.push(signal);
    await this.before(job, signal);
    const { width, height } = await decodePhoto(job.image, { width: 8, height: 8 });
    const cached = this.cached && { cached: this.cached(job) };
    return answer(job, { width, height, ...regionsOf(job.options), ...cached }) as JobResult<J>;
  }

  ready(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.state = 'stopped';
    return Promise.resolve();
  }
}

/** A job that never ends by itself, as one in a long queue. */
export function untilAborted(_job: PhotoJob, signal?: AbortSignal): Promise<void> {
  return new Promise((_resolve, reject) => {
    signal?.addEventListener('abort', () => {
      reject(signal.reason as Error);
    });
  });
}

function regionsOf({ regions, explain }: DecodingOptions): Pick<PhotoFacts, 'regions'> {
  return regions || explain ? { regions: [{ box: [0, 0, 4, 4], label: 'dog', attribute: 'brown', score: 0.9 }] } : {};
}

function answer(job: PhotoJob, photo: PhotoFacts): CaptionResult | AnswerResult {
  const { numBeams, numCaptions, maxTokens, topK, explain } = job.options;
  if (job.task === 'vqa') {
    const answers = Array.from({ length: topK }, (_, index) => ({ answer: `answer ${index}`, score: 1 / (index + 1) }));
    const results = job.questions.map((question) => ({ question, answers, ...(explain && { weights: [1] }) }));
    return { ...photo, results };
  }
  const captions = Array.from({ length: numCaptions }, (_, index) => ({
    caption: `caption ${index} of ${numBeams} beams and ${maxTokens} tokens`,
    score: 0.5,
    logProbability: -1 - index,
    ...(explain && { words: [{ word: 'caption', weights: [1] }] }),
  }));
  return { ...photo, captions };
}
