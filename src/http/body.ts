import express, { type Request, type RequestHandler, type Response } from 'express';
import type { IncomingHttpHeaders } from 'node:http';
import { ServiceError } from '../errors';
import { keepPace, type Pace } from './body-pace';
import { countBytes } from './counted-body';
import { type Form, formTooLarge, readForm } from './form';
import { LIMITS } from './limits';
import { waitsToBeAsked } from './request-headers';

/** What a request carries: a form, a photo alone (a form of one file), or JSON. */
export type Body = ({ readonly kind: 'form' } & Form) | { readonly kind: 'json'; readonly fields: object };

interface BodyReader {
  /** Bytes of the body. */
  readonly limit: number;
  readonly tooLarge: () => ServiceError;
  readonly read: (request: Request, response: Response) => Promise<Body>;
}

const FORM: BodyReader = {
  limit: LIMITS.formBytes,
  tooLarge: formTooLarge,
  read: async (request, response) => ({ kind: 'form', ...(await readForm(request, response)) }),
};
const JSON_BODY: BodyReader = { limit: LIMITS.jsonBytes, tooLarge: jsonTooLarge, read: readJson };
const IMAGE: BodyReader = { limit: LIMITS.imageBytes, tooLarge: imageTooLarge, read: readImage };

const parseImage = express.raw({ type: 'image/*', limit: LIMITS.imageBytes });
const parseJson = express.json({ limit: LIMITS.jsonBytes });

/**
 * What the headers say that the body will take at most; one in chunks does not say its size.
 * @throws ServiceError `missing_image`, `unsupported_media_type`, `body_too_large`, `image_too_large`
 */
export function announcedBytes(headers: IncomingHttpHeaders): number {
  const { limit, tooLarge } = findReader(headers);
  const bytes = Number(headers['content-length'] ?? limit);
  if (bytes > limit) {
    throw tooLarge();
  }
  return bytes;
}

/**
 * Invites a body where the client waits to be asked, and reads it by its content type.
 * @param onBytes told of every part that comes; where it has a reason not to go on, the reading fails with it
 * @throws ServiceError as `announcedBytes`, `readForm` and `keepPace`, and `invalid_json`, `invalid_request`
 */
export function readBody(
  request: Request,
  response: Response,
  pace: Pace,
  onBytes: (bytes: number) => ServiceError | undefined,
): Promise<Body> {
  const { read } = findReader(request.headers);
  if (waitsToBeAsked(request.headers)) {
    response.writeContinue();
    response.locals.bodyInvited = true;
  }
  return keepPace(request, pace, () => countBytes(request, onBytes, () => read(request, response)));
}

function findReader(headers: IncomingHttpHeaders): BodyReader {
  const { 'content-length': length, 'transfer-encoding': coding, 'content-encoding': packing = 'identity' } = headers;
  const reader = readerOf(headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase() ?? '');
  if ((length === undefined && coding === undefined) || (reader === undefined && length === '0')) {
    throw new ServiceError('missing_image', 'The request has no body; send a photo.');
  }
  if (reader === undefined) {
    const detail =
      'A body may be multipart/form-data, application/json, or the photo itself with its type (image/jpeg).';
    throw new ServiceError('unsupported_media_type', detail);
  }
  // It would have to hold from the start what it may unpack to.
  if (packing.toLowerCase() !== 'identity') {
    throw new ServiceError('unsupported_media_type', 'A body must come as it is, without a Content-Encoding.');
  }
  return reader;
}

function readerOf(mediaType: string): BodyReader | undefined {
  switch (mediaType) {
    case 'multipart/form-data':
      return FORM;
    case 'application/json':
      return JSON_BODY;
    default:
      return /^image\/[\w.+-]+$/.test(mediaType) ? IMAGE : undefined;
  }
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
      throw new ServiceError('unsupported_media_type', 'The body has a charset that is not accepted.');
    default:
      throw new ServiceError('invalid_request', 'The body is damaged or incomplete.', { cause: error });
  }
}
