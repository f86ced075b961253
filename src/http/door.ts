import type { IncomingHttpHeaders, IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { ERRORS } from '../errors';
import type { Refusal } from '../inference/admission';
import { announcedBytes } from './body';
import { discardBody } from './discard-body';
import type { AppOptions } from './express-app';
import { observe, type Observers } from './observation';
import { PROBLEM_TYPE, toProblem } from './problem';
import { requestIdOf } from './request-context';
import { readTreatment } from './request-headers';
import { SECURITY_HEADERS } from './security-headers';

type DoorOptions = Observers &
  Pick<AppOptions, 'admission' | 'document' | 'keys' | 'rateLimit' | 'requestTimeoutMs' | 'closing'>;

const INFERENCE_ROUTES: ReadonlySet<string> = new Set(['/caption', '/vqa']);

/**
 * Turns away requests for inference that there is no room for. Under ten times the load these are nine of ten, and by
 * Express's way the same answer costs twice as much. What there is to say to any other request, `app` says.
 */
export class Door {
  constructor(
    private readonly app: RequestListener,
    private readonly options: DoorOptions,
  ) {}

  readonly listener: RequestListener = (request, response) => {
    const route = request.url?.split('?', 1)[0] ?? '';
    if (request.method !== 'POST' || !INFERENCE_ROUTES.has(route) || this.isOfApp(request.headers)) {
      this.app(request, response);
      return;
    }
    const { keys } = this.options;
    const refusal = this.refusalOf(request.headers);
    const client = refusal && keys?.ownerOf(request.headers);
    if (refusal === undefined || (keys !== undefined && client === undefined)) {
      this.app(request, response);
      return;
    }
    const requestId = requestIdOf(request.headers);
    observe(this.options, request, response, () => ({ requestId, client, route, outcome: refusal.code }));
    void refuse(request, response, refusal, requestId);
  };

  /** Clients with limits hear how much is left, pages of other origins whether they may read the answer. */
  private isOfApp({ origin }: IncomingHttpHeaders): boolean {
    const { rateLimit, closing } = this.options;
    return rateLimit > 0 || origin !== undefined || closing.aborted;
  }

  /** Nothing where the headers are wrong, or announce a body that is. */
  private refusalOf(headers: IncomingHttpHeaders): Refusal | undefined {
    const { admission, document, requestTimeoutMs } = this.options;
    try {
      const bytes = announcedBytes(headers);
      return admission.refusalOf({ ...readTreatment(document, headers, requestTimeoutMs), bytes });
    } catch {
      return undefined;
    }
  }
}

async function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  refusal: Refusal,
  requestId: string,
): Promise<void> {
  const { status } = ERRORS[refusal.code];
  await discardBody(request, response, { status, bodyInvited: false });
  const text = JSON.stringify({ ...toProblem(refusal), request_id: requestId });
  const headers = {
    ...SECURITY_HEADERS,
    'X-Request-Id': requestId,
    'Retry-After': refusal.retryAfterSeconds,
    'Content-Type': `${PROBLEM_TYPE}; charset=utf-8`,
    'Content-Length': Buffer.byteLength(text),
  };
  // Nothing more can be said to a client that has left meanwhile.
  if (!response.closed) {
    response.writeHead(status, headers).end(text);
  }
}
