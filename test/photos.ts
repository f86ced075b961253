import { crc32 } from 'node:zlib';
import sharp from 'sharp';

/** A photo of one colour, 12 wide and 8 high, in a format that the server reads. */
export function photo(format: 'jpeg' | 'png' | 'webp' | 'avif' | 'gif' = 'jpeg'): Promise<Buffer> {
  return sharp({ create: { width: 12, height: 8, channels: 3, background: 'teal' } })
    .toFormat(format)
    .toBuffer();
}

/** A PNG whose header claims a size that its data do not have. */
export async function pngClaiming(width: number, height: number): Promise<Buffer> {
  const png = await photo('png');
  // Signature 8, length 4, then "IHDR" with width and height, and its checksum behind its 13 bytes.
  png.writeUInt32BE(width, 16);
  png.writeUInt32BE(height, 20);
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
  return png;
}

export const SVG = Buffer.from(
  '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
);
