import { webcrypto } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { RequestHandler, Response } from 'express';
import { type ErrorCode, ServiceError } from '../errors';
import type { Admission, Ticket } from '../inference/admission';
import {
  type InferenceService,
  type JobResult,
  type PhotoJob,
  RESTART_SECONDS,
  unitsOf,
  type Work,
} from '../inference/service';
import type { PhotoFacts } from '../vision-language/results';
import type { ApiKeys } from './api-keys';
import { announcedBytes, readBody } from './body';
import type { Pace } from './body-pace';
import { readInferenceRequest } from './inference-request';
import { modelId, type ServedModels } from '../vision-language/facts';
import { findModel } from './model';
import { Deadline } from './deadline';
import type { ApiDocument } from './openapi';
import type { PhotoFetcher } from './photo-fetcher';
import { loadPhotos } from './photo-sources';
import { clientOf } from './rate-limit';
import { readTreatment } from './request-headers';
import { answerEntries, captionEntries, type Entry, type OrFault, responseBody } from './responses';

export interface InferenceContext {
  readonly document: ApiDocument;
  readonly service: InferenceService;
  readonly admission: Admission;
  /** As they are now: they change when bundles are read again. */
  readonly models: () => ServedModels;
  /** Whether what is known of a photo serves all requests with the same photo. */
  readonly sharesPhotos: boolean;
  /** For photos that are named by URL. */
  readonly fetcher: PhotoFetcher;
  /** Whose keys are accepted; without it everybody may ask. */
  readonly keys: ApiKeys | undefined;
  /** Requests that a client may make in a minute; 0 sets no limit. */
  readonly rateLimit: number;
  /** Deadline of a request that names none. */
  readonly requestTimeoutMs: number;
  /** A slower body loses its slot. */
  readonly slowestPace: Pace;
  /** Aborted when the server takes no more requests and finishes those that it has. */
  readonly closing: AbortSignal;
}

/** In what the tasks differ at this border. */
interface TaskBorder<J extends PhotoJob> {
  readonly task: J['task'];
  toJob(work: Work, questions: readonly string[]): J;
  toEntries(photos: readonly OrFault<JobResult<J>>[], questions: readonly string[]): Entry[];
}

type JobOf<Task extends PhotoJob['task']> = Extract<PhotoJob, { task: Task }>;

export const CAPTION: TaskBorder<JobOf<'caption'>> = {
  task: 'caption',
  toJob: (work) => ({ ...work, task: 'caption' }),
  toEntries: captionEntries,
};

export const VQA: TaskBorder<JobOf<'vqa'>> = {
  task: 'vqa',
  toJob: (work, questions) => ({ ...work, task: 'vqa', questions }),
  toEntries: answerEntries,
};

/** Faults of one photo: among several, the others stand. */
const FAULTS_OF_A_PHOTO: ReadonlySet<ErrorCode> = new Set([
  'unsupported_image_format',
  'undecodable_image',
  'image_unavailable',
  'inference_crashed',
]);

export function inferenceRoute<J extends PhotoJob>(context: InferenceContext, border: TaskBorder<J>): RequestHandler {
  return async (request, response) => {
    refuseWhenClosing(context.closing);
    const { priority, timeoutMs } = readTreatment(context.document, request.headers, context.requestTimeoutMs);
    const bytes = announcedBytes(request.headers);
    // Where the operator has set neither, all may be behind one proxy.
    const tellsClients = context.keys !== undefined || context.rateLimit > 0;
    const client = tellsClients ? clientOf(request, response) : undefined;
    const ticket = context.admission.enter({ priority, timeoutMs, bytes, client });
    try {
      const body = await readBody(request, response, context.slowestPace, (part) => ticket.receive(part));
      const asked = readInferenceRequest(border.task, context.document, body, request.query);
      const askedMs = performance.now();
      const photos = await loadPhotos(asked.photos, context.fetcher, { ticket, response, timeoutMs });
      const leftMs = askedMs + timeoutMs - performance.now();
      const digests = context.sharesPhotos ? await Promise.all(photos.map(sha256)) : [];
      // From here to the jobs' start nothing waits, so that bundles which are read again meanwhile leave none behind.
      const model = findModel(context.models(), asked.model);
      const options = asked.optionsFor(model);
      const jobs = photos.map((image, photo): OrFault<J> => {
        if (image instanceof ServiceError) {
          return image;
        }
        const digest = digests[photo];
        const named = digest === undefined ? {} : { sha256: digest };
        return border.toJob({ image, model: modelId(model), options, priority, ...named }, asked.questions);
      });
      const wanted = { units: sum(jobs.map(unitsIn)), uploads: 0, bytes: sum(photos.map(bytesIn)) };
      ticket.take(wanted, leftMs);
      const results = await runAll(context.service, jobs, { askedMs, timeoutMs, ticket, response });
      setCacheHeader(response, results);
      response.json(responseBody(modelId(model), border.toEntries(results, asked.questions), asked.plural));
    } finally {
      ticket.leave();
    }
  };
}

/**
 * Called before the body is read: a request that came before the end is finished.
 * @throws ServiceError `shutting_down`
 */
export function refuseWhenClosing(closing: AbortSignal): void {
  if (closing.aborted) {
    throw new ServiceError('shutting_down', 'The server is shutting down.', { retryAfterSeconds: RESTART_SECONDS });
  }
}

/**
 * Runs the jobs of one request; whatever fails the request, its deadline or its client's leaving, drops them all.
 * @throws ServiceError for faults that are not of one photo among several
 */
async function runAll<J extends PhotoJob>(
  service: InferenceService,
  jobs: readonly OrFault<J>[],
  { askedMs, timeoutMs, ticket, response }: { askedMs: number; timeoutMs: number; ticket: Ticket; response: Response },
): Promise<OrFault<JobResult<J>>[]> {
  const dropped = new AbortController();
  setMaxListeners(jobs.length, dropped.signal);
  const deadline = new Deadline(timeoutMs, askedMs, ticket, (reason) => {
    dropped.abort(reason);
  });
  const leave = (): void => {
    dropped.abort(new Error('The client has closed the connection'));
  };
  response.once('close', leave);
  if (response.closed) {
    leave();
  }
  const run = async (job: OrFault<J>): Promise<OrFault<JobResult<J>>> => {
    if (job instanceof ServiceError) {
      return job;
    }
    try {
      return await service.run({ ...job, turn: deadline.turn() }, dropped.signal);
    } catch (error) {
      if (jobs.length > 1 && error instanceof ServiceError && FAULTS_OF_A_PHOTO.has(error.code)) {
        return error;
      }
      dropped.abort(error);
      throw error;
    } finally {
      ticket.done(unitsOf(job));
    }
  };
  try {
    return await Promise.all(jobs.map(run));
  } finally {
    deadline.end();
    response.off('close', leave);
  }
}

/** Says for each photo whether it was known already, unless nothing is kept. */
function setCacheHeader(response: Response, photos: readonly OrFault<PhotoFacts>[]): void {
  const states = photos.map((photo) => (photo instanceof ServiceError ? undefined : photo.cached));
  if (states.some((cached) => cached !== undefined)) {
    response.set('X-Cache', states.map((cached) => (cached ? 'hit' : 'miss')).join(', '));
  }
}

/** In a thread of its own: 20 MB would hold up the event loop. */
async function sha256(bytes: OrFault<Uint8Array>): Promise<string | undefined> {
  if (bytes instanceof ServiceError) {
    return undefined;
  }
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes)).toString('base64');
}

function unitsIn(job: OrFault<PhotoJob>): number {
  return job instanceof ServiceError ? 0 : unitsOf(job);
}

function bytesIn(photo: OrFault<Uint8Array>): number {
  return photo instanceof ServiceError ? 0 : photo.length;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
