import express, { type Request, type RequestHandler, type Response } from 'express';
import { ServiceError } from '../errors';
import { type Form, readForm } from './form';
import { LIMITS } from './limits';

/** What a request carries: a form, a photo alone (a form of one file), or JSON. */
export type Body = ({ readonly kind: 'form' } & Form) | { readonly kind: 'json'; readonly fields: object };

const ACCEPTED_TYPES = 'multipart/form-data, application/json and image/* (with its real type, such as image/jpeg)';

const parseImage = express.raw({ type: 'image/*', limit: LIMITS.imageBytes });
const parseJson = express.json({ limit: LIMITS.jsonBytes });

/**
 * Reads the body by its content type.
 * @throws ServiceError as `readForm`, and `invalid_json`, `missing_image`, `unsupported_media_type`
 */
export async function readBody(request: Request, response: Response): Promise<Body> {
  const type = request.is(['multipart/form-data', 'application/json', 'image/*']);
  if (type === null) {
    throw new ServiceError('missing_image', 'The request has no body; send a photo.');
  }
  if (type === false) {
    throw new ServiceError('unsupported_media_type', `A body may be ${ACCEPTED_TYPES}.`);
  }
  if (request.get('Expect') === '100-continue') {
    response.writeContinue();
    response.locals.bodyInvited = true;
  }
  switch (type) {
    case 'multipart/form-data':
      return { kind: 'form', ...(await readForm(request, response)) };
    case 'application/json':
      return { kind: 'json', fields: await readJson(request, response) };
    default:
      return { kind: 'form', fields: {}, files: [{ field: 'image', bytes: await readImage(request, response) }] };
  }
}

async function readImage(request: Request, response: Response): Promise<Uint8Array> {
  const tooLarge = new ServiceError('image_too_large', `The photo is larger than ${LIMITS.imageBytes / 1e6} MB.`);
  await parse(parseImage, request, response, tooLarge);
  // The parser leaves an empty body alone.
  return Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
}

async function readJson(request: Request, response: Response): Promise<object> {
  const limit = `${LIMITS.jsonBytes / 1e6} MB`;
  const tooLarge = new ServiceError(
    'body_too_large',
    `A JSON body may have ${limit}; send a form, which may have more.`,
  );
  await parse(parseJson, request, response, tooLarge);
  const body: unknown = request.body;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new ServiceError('invalid_request', 'The JSON body must be an object.');
  }
  return body;
}

async function parse(
  parser: RequestHandler,
  request: Request,
  response: Response,
  tooLarge: ServiceError,
): Promise<void> {
  const error = await new Promise<unknown>((resolve) => {
    void parser(request, response, resolve);
  });
  if (error === undefined) {
    return;
  }
  const reason = error instanceof Error && 'type' in error ? error.type : undefined;
  switch (reason) {
    case 'entity.too.large':
      throw tooLarge;
    case 'entity.parse.failed':
      throw new ServiceError('invalid_json', 'The body is not valid JSON.', { cause: error });
    case 'charset.unsupported':
    case 'encoding.unsupported':
      throw new ServiceError('unsupported_media_type', 'The body has a charset or an encoding that is not accepted.');
    default:
      throw new ServiceError('invalid_request', 'The body is damaged or incomplete.', { cause: error });
  }
}
