import type { Readable, Writable } from 'node:stream';
import type { Request, Response } from 'express';
import multer, { MulterError } from 'multer';
import { ServiceError } from '../errors';
import { LIMITS } from './limits';

/** A form as it came: each text field with its values, and the files in the order sent. */
export interface Form {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly files: readonly { readonly field: string; readonly bytes: Uint8Array }[];
}

const options = {
  storage: multer.memoryStorage(),
  limits: {
    fileSize: LIMITS.imageBytes,
    files: LIMITS.images,
    fields: LIMITS.textFields,
    parts: LIMITS.images + LIMITS.textFields,
    fieldSize: LIMITS.textBytes,
    fieldNameSize: LIMITS.fieldNameBytes,
    // No field of this API is an object or a sparse list.
    fieldNestingDepth: 1,
    fieldArrayIndexLimit: 0,
    headerPairs: 20,
  },
  streamHandler: limitWhole,
};
const upload = multer(options).any();

/**
 * Reads a form into memory, every part of it limited.
 * @throws ServiceError `body_too_large`, `image_too_large`, `limit_exceeded`, `unknown_field`, `invalid_request`
 */
export async function readForm(request: Request, response: Response): Promise<Form> {
  await new Promise<void>((resolve, reject) => {
    upload(request, response, (error: unknown) => {
      if (error === undefined) {
        resolve();
      } else {
        // While the rest is dropped, what has come need not stay.
        request.files = [];
        reject(refusal(error));
      }
    });
  });
  const files = (request.files ?? []) as Express.Multer.File[];
  return {
    fields: request.body as Form['fields'],
    files: files.map(({ fieldname, buffer }) => ({ field: fieldname, bytes: buffer })),
  };
}

/**
 * Multer limits each part but not their sum, and a chunked body does not say its size. Of a fault it tells when the part
 * has come to its end and the request too, which may be in minutes: the parser is ended at once.
 */
function limitWhole(request: Request, parser: Writable): void {
  // Multer waits for the rest of what is readable.
  request.readable = false;
  parser.on('file', (_name: string, file: Readable) => {
    file.once('limit', () => {
      // Not while the parser is in the middle of it.
      setImmediate(() => parser.destroy(imageTooLarge()));
    });
  });
  let bytes = 0;
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > LIMITS.formBytes) {
      parser.destroy(formTooLarge());
    }
  });
  request.pipe(parser);
}

export function formTooLarge(): ServiceError {
  return new ServiceError('body_too_large', `The form is larger than ${LIMITS.formBytes / 1e6} MB; send fewer photos.`);
}

function imageTooLarge(): ServiceError {
  return new ServiceError('image_too_large', `A photo is larger than ${LIMITS.imageBytes / 1e6} MB.`);
}

function refusal(error: unknown): Error {
  if (error instanceof ServiceError) {
    return error;
  }
  if (!(error instanceof MulterError)) {
    return new ServiceError('invalid_request', 'The form is malformed or incomplete.', { cause: error });
  }
  const field = `The field "${error.field ?? ''}"`;
  switch (error.code) {
    case 'LIMIT_FILE_SIZE':
      return imageTooLarge();
    case 'LIMIT_FILE_COUNT':
      return new ServiceError('limit_exceeded', `A request may have ${LIMITS.images} photos at most.`);
    case 'LIMIT_FIELD_COUNT':
    case 'LIMIT_PART_COUNT':
      return new ServiceError(
        'limit_exceeded',
        `The form has too many fields; a request may have ${LIMITS.questions} questions at most.`,
      );
    case 'LIMIT_FIELD_VALUE':
      return error.field?.startsWith('image')
        ? new ServiceError('invalid_request', `${field} holds text and must be a file.`)
        : new ServiceError('limit_exceeded', `${field} is longer than ${LIMITS.textBytes} bytes.`);
    case 'LIMIT_FIELD_KEY':
      return new ServiceError('unknown_field', `A field's name is longer than ${LIMITS.fieldNameBytes} bytes.`);
    default:
      return new ServiceError('invalid_request', `The form has a field whose name cannot be read.`);
  }
}
