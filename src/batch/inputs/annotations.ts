import { readFile } from 'node:fs/promises';
import { RunError } from '../errors';
import type { Item } from '../item';
import { withoutMark } from '../text-lines';
import { placeBelow } from './s3';

interface CocoFile {
  readonly images: readonly { readonly id: number; readonly file_name: string }[];
  readonly annotations?: readonly { readonly image_id: number; readonly caption?: string }[];
}

interface VqaFile {
  readonly data_subtype?: string;
  readonly questions: readonly { readonly image_id: number; readonly question: string; readonly question_id: number }[];
}

interface VqaAnswers {
  readonly annotations: readonly {
    readonly question_id: number;
    readonly answer_type?: string;
    readonly answers: readonly { readonly answer: string }[];
  }[];
}

/** @throws RunError when the file is not JSON */
export async function readJson(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8');
  try {
    return JSON.parse(withoutMark(text));
  } catch (cause) {
    throw new RunError(`${file} is not JSON: ${(cause as Error).message}.`, { cause });
  }
}

export function formatOfJson(file: string, content: unknown): 'coco' | 'vqa' {
  const { questions, images } = (content ?? {}) as Record<string, unknown>;
  if (!Array.isArray(questions) && !Array.isArray(images)) {
    throw new RunError(`${file}: expected the "images" of COCO or the "questions" of VQA v2.`);
  }
  return Array.isArray(questions) ? 'vqa' : 'coco';
}

/** The photos of a COCO file; captions that it has for them are their references. */
export function cocoItems(content: unknown, images: string): Item[] {
  const { images: photos, annotations = [] } = content as CocoFile;
  const captions = new Map<number, string[]>();
  for (const { image_id, caption } of annotations) {
    if (caption !== undefined) {
      captions.set(image_id, [...(captions.get(image_id) ?? []), caption]);
    }
  }
  return photos.map(({ id, file_name }) => {
    const references = captions.get(id);
    return { image: placeBelow(images, file_name), id, ...(references && { references }) };
  });
}

/**
 * The questions of a VQA v2 file, in its order.
 * @param answers the content of its annotations, where there are any
 */
export function vqaItems(content: unknown, images: string, answers: unknown): Item[] {
  const { data_subtype, questions } = content as VqaFile;
  const annotations = new Map(
    (answers as VqaAnswers | undefined)?.annotations.map((annotation) => [annotation.question_id, annotation]),
  );
  return questions.map(({ image_id, question, question_id }) => {
    const annotation = annotations.get(question_id);
    return {
      image: placeBelow(images, vqaFileName(image_id, data_subtype)),
      question,
      id: question_id,
      ...(annotation && {
        reference_answers: annotation.answers.map(({ answer }) => answer),
        ...(annotation.answer_type !== undefined && { answer_type: annotation.answer_type }),
      }),
    };
  });
}

/** VQA v2 names COCO's photos by number and subset; test2015's questions are about test2015's photos. */
function vqaFileName(imageId: number, subset = 'val2014'): string {
  return `COCO_${subset.replace('test-dev', 'test')}_${String(imageId).padStart(12, '0')}.jpg`;
}
