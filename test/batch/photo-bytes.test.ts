import { ObjectStore } from '../../src/batch/inputs/s3';
import { RunError } from '../../src/batch/errors';
import { readPhoto } from '../../src/batch/photo-bytes';
import { ServiceError } from '../../src/errors';
import { temporaryFolder } from './temporary-folder';

const folder = temporaryFolder();
const store = new ObjectStore({ pathStyle: false, maxAttempts: 1 });
const read = (image: string): Promise<Uint8Array> => readPhoto({ image }, store);

test.each([
  ['is not there', () => folder('none.jpg')],
  ['is a folder', () => folder()],
  ['lies behind a file', () => `${__filename}/a.jpg`],
  ['has a name that no file has', () => 'a\0b'],
  ['has too long a name', () => 'a'.repeat(5_000)],
])('a photo that %s is a problem of its own', async (_circumstance, image) => {
  const refused = read(image());
  await expect(refused).rejects.toThrow(ServiceError);
  await expect(refused).rejects.toMatchObject({ code: 'undecodable_image' });
});

const onLinux = process.platform === 'linux' ? test : test.skip;

// Its first page is nobody's: reading it is an error of input and output.
onLinux('a disk that cannot be read ends the run', async () => {
  const refused = read('/proc/self/mem');
  await expect(refused).rejects.toThrow(RunError);
  await expect(refused).rejects.toThrow(/^\/proc\/self\/mem cannot be read: EIO/);
});
