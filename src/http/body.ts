import express, { type Request, type RequestHandler, type Response } from 'express';
import { ServiceError } from '../errors';
import { keepPace, type Pace } from './body-pace';
import { type Form, formTooLarge, readForm } from './form';
import { LIMITS } from './limits';

/** What a request carries: a form, a photo alone (a form of one file), or JSON. */
export type Body = ({ readonly kind: 'form' } & Form) | { readonly kind: 'json'; readonly fields: object };

interface BodyReader {
  /** Bytes of the body. */
  readonly limit: number;
  readonly tooLarge: () => ServiceError;
  readonly read: (request: Request, response: Response) => Promise<Body>;
}

const READERS: Readonly<Record<string, BodyReader>> = {
  'multipart/form-data': {
    limit: LIMITS.formBytes,
    tooLarge: formTooLarge,
    read: async (request, response) => ({ kind: 'form', ...(await readForm(request, response)) }),
  },
  'application/json': { limit: LIMITS.jsonBytes, tooLarge: jsonTooLarge, read: readJson },
  'image/*': { limit: LIMITS.imageBytes, tooLarge: imageTooLarge, read: readImage },
};

const parseImage = express.raw({ type: 'image/*', limit: LIMITS.imageBytes });
const parseJson = express.json({ limit: LIMITS.jsonBytes });

/** A body of which nothing has been read yet. */
export interface AnnouncedBody {
  /** What it will take at most. */
  readonly bytes: number;
  /**
   * Invites it where the client waits to be asked, and reads it by its content type.
   * @throws ServiceError as `readForm` and `keepPace`, and `invalid_json`, `invalid_request`
   */
  read(): Promise<Body>;
}

/**
 * What the headers say of the body.
 * @throws ServiceError `missing_image`, `unsupported_media_type`, `body_too_large`, `image_too_large`
 */
export function announcedBody(request: Request, response: Response, pace: Pace): AnnouncedBody {
  const { limit, tooLarge, read } = findReader(request);
  const length = request.get('Content-Length');
  if (Number(length) > limit) {
    throw tooLarge();
  }
  return {
    // A body in chunks does not say its size, and one that is packed may unpack to any.
    bytes: length === undefined || request.get('Content-Encoding') !== undefined ? limit : Number(length),
    read: () => {
      if (request.get('Expect') === '100-continue') {
        response.writeContinue();
        response.locals.bodyInvited = true;
      }
      return keepPace(request, pace, () => read(request, response));
    },
  };
}

function findReader(request: Request): BodyReader {
  const type = request.is(Object.keys(READERS));
  if (type === null || (type === false && request.get('Content-Length') === '0')) {
    throw new ServiceError('missing_image', 'The request has no body; send a photo.');
  }
  const reader = READERS[typeof type === 'string' && type.startsWith('image/') ? 'image/*' : String(type)];
  if (reader === undefined) {
    const detail =
      'A body may be multipart/form-data, application/json, or the photo itself with its type (image/jpeg).';
    throw new ServiceError('unsupported_media_type', detail);
  }
  return reader;
}

async function readImage(request: Request, response: Response): Promise<Body> {
  await parse(parseImage, request, response, imageTooLarge);
  // The parser leaves an empty body alone.
  const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  return { kind: 'form', fields: {}, files: [{ field: 'image', bytes }] };
}

async function readJson(request: Request, response: Response): Promise<Body> {
  await parse(parseJson, request, response, jsonTooLarge);
  const fields: unknown = request.body;
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw new ServiceError('invalid_request', 'The JSON body must be an object.');
  }
  return { kind: 'json', fields };
}

function imageTooLarge(): ServiceError {
  return new ServiceError('image_too_large', `The photo is larger than ${LIMITS.imageBytes / 1e6} MB.`);
}

function jsonTooLarge(): ServiceError {
  const limit = `${LIMITS.jsonBytes / 1e6} MB`;
  return new ServiceError('body_too_large', `A JSON body may have ${limit}; send a form, which may have more.`);
}

/** Runs one of Express's own parsers. */
async function parse(
  parser: RequestHandler,
  request: Request,
  response: Response,
  tooLarge: () => ServiceError,
): Promise<void> {
  const error = await new Promise<unknown>((resolve) => {
    void parser(request, response, resolve);
  });
  if (error === undefined) {
    return;
  }
  switch (error instanceof Error && 'type' in error && error.type) {
    case 'entity.too.large':
      throw tooLarge();
    case 'entity.parse.failed':
      throw new ServiceError('invalid_json', 'The body is not valid JSON.', { cause: error });
    case 'charset.unsupported':
    case 'encoding.unsupported':
      throw new ServiceError('unsupported_media_type', 'The body has a charset or an encoding that is not accepted.');
    default:
      throw new ServiceError('invalid_request', 'The body is damaged or incomplete.', { cause: error });
  }
}
