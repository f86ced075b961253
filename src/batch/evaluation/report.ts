import { confidenceOf, type Row } from '../item';
import { type CaptionScores, captionScores, mean } from './caption-scores';
import { vqaAccuracy } from './vqa-accuracy';

/** Photos shown of the best, and of the worst. */
const SHOWN = 8;
const BINS = 10;

/** An item that was measured against people's words. */
export interface Measured {
  readonly image: string;
  readonly question?: string;
  readonly said: string;
  readonly people: readonly string[];
  /** 0-1. */
  readonly confidence: number;
  /** CIDEr-D of a caption in points, accuracy of an answer in points. */
  readonly score: number;
}

/** Items whose confidence lies between `from` and `from` + 0.1. */
export interface ConfidenceBin {
  readonly from: number;
  readonly items: number;
  /** Of those that were measured; undefined where none was. */
  readonly meanScore: number | undefined;
  readonly meanConfidence: number | undefined;
}

export interface TaskReport {
  readonly measure: 'CIDEr-D' | 'VQA accuracy';
  /** Names and points. */
  readonly scores: readonly (readonly [string, number])[];
  readonly best: readonly Measured[];
  readonly worst: readonly Measured[];
  readonly bins: readonly ConfidenceBin[];
}

/** What fills a plot, in points: CIDEr-D has no highest value. */
export function fullScoreOf(measure: TaskReport['measure']): number {
  return measure === 'CIDEr-D' ? 200 : 100;
}

export interface Report {
  readonly items: number;
  readonly failed: number;
  readonly skipped: number;
  readonly meanConfidence: number | undefined;
  readonly tasks: readonly TaskReport[];
}

export function reportOf(rows: readonly Row[]): Report {
  const confidences = rows.flatMap((row) => confidenceOf(row) ?? []);
  const captions = rows.filter(({ caption }) => caption !== undefined);
  const answers = rows.filter(({ answers: found }) => found !== undefined);
  return {
    items: rows.length,
    failed: rows.filter(({ problem }) => problem !== undefined).length,
    skipped: rows.filter(({ skipped }) => skipped).length,
    meanConfidence: confidences.length > 0 ? mean(confidences) : undefined,
    tasks: [
      ...(captions.length > 0 ? [captionReport(captions)] : []),
      ...(answers.length > 0 ? [answerReport(answers)] : []),
    ],
  };
}

function captionReport(rows: readonly Row[]): TaskReport {
  const withReferences = rows.flatMap((row) =>
    row.caption !== undefined && row.references?.length
      ? [{ row, caption: row.caption, references: row.references }]
      : [],
  );
  const scores = withReferences.length > 0 ? captionScores(withReferences) : undefined;
  const measured = withReferences.map(({ row, caption, references }, n) => ({
    ...subject(row),
    said: caption,
    people: references,
    score: scores?.cider_d_of_photo[n] ?? 0,
  }));
  return taskReport('CIDEr-D', scores ? captionTable(scores) : [], rows, measured);
}

function captionTable({ cider_d, bleu, rouge_l }: CaptionScores): [string, number][] {
  return [
    ['CIDEr-D', cider_d],
    ...bleu.map((score, n): [string, number] => [`BLEU-${n + 1}`, score]),
    ['ROUGE-L', rouge_l],
  ];
}

function answerReport(rows: readonly Row[]): TaskReport {
  const measured = rows.flatMap((row) => {
    const said = row.answers?.[0]?.answer;
    const people = row.reference_answers;
    return said !== undefined && people?.length
      ? [{ ...subject(row), said, people, score: 100 * vqaAccuracy(said, people), type: row.answer_type ?? 'untyped' }]
      : [];
  });
  const types = [...new Set(measured.map(({ type }) => type))].sort();
  const accuracy = (of: typeof measured): number => mean(of.map(({ score }) => score));
  const table = types.map((type): [string, number] => [type, accuracy(measured.filter((each) => each.type === type))]);
  return taskReport('VQA accuracy', measured.length > 0 ? [['all', accuracy(measured)], ...table] : [], rows, measured);
}

function subject(row: Row): Pick<Measured, 'image' | 'question' | 'confidence'> {
  const { image, question } = row;
  return { image, ...(question !== undefined && { question }), confidence: confidenceOf(row) ?? 0 };
}

function taskReport(
  measure: TaskReport['measure'],
  scores: TaskReport['scores'],
  rows: readonly Row[],
  measured: readonly Measured[],
): TaskReport {
  const ranked = measured.toSorted((a, b) => b.score - a.score || b.confidence - a.confidence);
  const half = Math.min(SHOWN, Math.ceil(ranked.length / 2));
  return {
    measure,
    scores,
    best: ranked.slice(0, half),
    worst: ranked.slice(half).slice(-SHOWN).reverse(),
    bins: Array.from({ length: BINS }, (_, bin) => binOf(bin, rows, measured)),
  };
}

function binOf(bin: number, rows: readonly Row[], measured: readonly Measured[]): ConfidenceBin {
  const isIn = (confidence: number): boolean => Math.min(BINS - 1, Math.floor(confidence * BINS)) === bin;
  const inside = measured.filter(({ confidence }) => isIn(confidence));
  return {
    from: bin / BINS,
    items: rows.filter((row) => isIn(confidenceOf(row) ?? 0)).length,
    meanScore: inside.length > 0 ? mean(inside.map(({ score }) => score)) : undefined,
    meanConfidence: inside.length > 0 ? mean(inside.map(({ confidence }) => confidence)) : undefined,
  };
}
