import { ServiceError } from '../errors';

/** Media types of the photos that are read, as sharp names them. */
export const ACCEPTED_MEDIA_TYPES: readonly string[] = [
  'image/jpeg',
  'image/png',
  'image/webp',
  'image/avif',
  'image/gif',
];

const ACCEPTED_NAMES = 'JPEG, PNG, WebP, AVIF and GIF are accepted';

/** What to do with formats that people do send, recognised by how their files begin. */
const HINTS: readonly { name: string; begins: RegExp; hint: string }[] = [
  {
    name: 'HEIC',
    begins: /^.{4}ftyp(?:heic|heix|heim|heis|hevc|hevx|mif1|msf1)/s,
    hint: 'convert it first, for example with "heif-convert photo.heic photo.jpg" or "sips -s format jpeg" on a Mac',
  },
  { name: 'SVG', begins: /^\s*(?:<\?xml|<!--|<!DOCTYPE svg|<svg)/i, hint: 'it is a drawing: render it as PNG first' },
  { name: 'TIFF', begins: /^(?:II[*+]\0|MM\0[*+])/, hint: 'convert it to JPEG or PNG first' },
  { name: 'PDF', begins: /^%PDF-/, hint: 'render its pages as PNG first' },
  { name: 'BMP', begins: /^BM.{4}\0{4}/s, hint: 'convert it to JPEG or PNG first' },
];

export function unsupportedFormat(bytes: Uint8Array): ServiceError {
  const known = recognise(bytes);
  const what = known ? `${known.name} images are not accepted` : 'The file is not an image of a known format';
  const hint = known ? `: ${known.hint}` : '';
  return new ServiceError('unsupported_image_format', `${what}; ${ACCEPTED_NAMES}${hint}.`);
}

/** HEIC shares its container, and libvips' loader, with AVIF. */
export function isHeic(bytes: Uint8Array): boolean {
  return recognise(bytes)?.name === 'HEIC' && !beginning(bytes).includes('avif');
}

function recognise(bytes: Uint8Array): (typeof HINTS)[number] | undefined {
  const start = beginning(bytes);
  return HINTS.find(({ begins }) => begins.test(start));
}

/** The first bytes as Latin-1; a byte order mark of text is left out. */
function beginning(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(0, 64))
    .toString('latin1')
    .replace(/^\xef\xbb\xbf/, '');
}
