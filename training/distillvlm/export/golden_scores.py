"""Golden file of the evaluation: what pycocoevalcap and the official script of VQA say, for `score --report`.

    pip download --no-deps salesforce-lavis==1.0.2 && unzip salesforce_lavis-*.whl lavis/common/vqa_tools/vqa_eval.py
    python -m distillvlm.export.golden_scores lavis/common/vqa_tools/vqa_eval.py

`scores.json`: tokens of sentences; CIDEr-D, BLEU and ROUGE-L of captions; normal forms and accuracies of answers.

LAVIS has the official `vqaEval.py` (GT-Vision-Lab/VQA) in an early form. Later ones bring people's answers into the
whole normal form where they differ, and leave a prediction as it is where they agree: both is done here around it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from distillvlm.evaluation.captions import caption_scores, tokenize
from distillvlm.export.golden import GOLDEN, Case

SENTENCES = (
    "A dog runs on the beach.",
    "The neighbour's grey cat, asleep; the dogs' ball: \"wet\" and 'red'.",
    "don't can't won't cannot gonna wanna gotta gimme lemme I'm they've he'd we'll you're 'tis 'twas y'all",
    "It's 5:30 p.m. at 1/2 mile (approx. 6:40PM) with $5.00 and 50% off, 3,000 people, 3.14, -5 or +6",
    "black-and-white t-shirt; mother-in-law -- dash — em – en ... ellipsis… 4-car train, 7-10 years",
    "Mr. Smith and Dr. Jones vs. St. Mary's U.S. flag near Lincoln Ave. and Main St.",
    "e.g. i.e. etc. and/or his/her w/ a dog, rock & roll, AT&T, R&B, Texas A&amp;M, M&Ms",
    "see http://www.example.com/a?b=c and foo@bar.com and www.example.org, @user #1",
    "[brackets] {braces} (round) <tag> a*b ~ ^ |",
    "naïve café “smart” ‘quotes’ man’s don’t 两只狗 собака 🐕 happy",
    'the man said "hello." and left.A dog!!! What??? no. 2 of page no. one',
    "o'clock ma'am rock'n'roll o'er d'you '90s 90's 1st 2nd 10ft 35mm 5° ½ cup €5 £10",
    "A U.S army man, J. K. Rowling and a boy named T., on S. 2nd street with a T.V. in it.",
    "two-door -lrb- top and bottom -rrb- ____ car with  many   spaces",
    "How many stories does the bus have?q? A blanket.cake, a cat!dog and Bus.co.uk.",
    "dark black'blue hair, women'swear, Xi'an, d'or, c'est, T'Pau, j'ai; how many might be hook 'n up",
    "an Oakland A's pitcher, WE'RE at JOE'S bar, y'all know o’clock and black’blue",
    "",
)
CAPTIONS = (
    ("a dog runs on the beach", ("A dog running on a beach.", "The brown dog is on the beach.", "dog at the sea")),
    ("a cat sits on a wooden table", ("A cat is sitting on a table.", "a black cat on top of a wooden desk")),
    ("two men play tennis", ("Two men are playing tennis on a court.", "Two guys play doubles tennis.")),
    ("a man is riding a wave", ("A man rides a wave on a surfboard.", "A surfer's ride on top of a big wave.")),
    ("a plate of food", ("A plate with rice, beans and meat.", "Some food on a white plate.", "A plate of food.")),
    ("a red bus down the street", ("A red double-decker bus drives down a street.", "the bus is red")),
    ("the the the the the the", ("The cat is on the mat.", "There is a cat on the mat.")),
    ("zebra", ("Several zebras graze in the grass.", "A herd of zebra in a field.")),
    ("", ("A bathroom with a toilet and a sink.",)),
    ("a train is coming into the station at 5 p.m.", ("A train pulls into the station.", "The 5 p.m. train arrives.")),
)
ANSWERS = (
    ("2", ("two", "2", "two", "2", "3", "2", "2", "2", "two", "2")),
    ("yes", ("yes",) * 10),
    ("Yes", ("yes",) * 10),
    ("a dog", ("dog", "the dog", "puppy", "dog", "dog", "cat", "dog", "dog", "animal", "dog")),
    ("dont know", ("don't know", "unsure", "dont know", *("no idea",) * 7)),
    ("blue", ("blue", "navy", "blue and white", *("black",) * 7)),
    ("red", ("blue", "navy", *("black",) * 8)),
    ("1,000", ("1000", "1,000", "1000", "many", *("lots",) * 6)),
    ("black/white", ("black white", "black and white", "black & white", *("grey",) * 7)),
    ("", ("a", "the", "no", *("none",) * 7)),
)
FORMS = (
    "The two dogs.", "none", "1,000 people", "5.5 m", "p.m.", "somebody'd", "wouldntve", "black/white", "left / right",
    "it's a man's, man's world!", "what?  no", "tab\tand\nline", "zero-one", "(yes)", "#1 @home", "Ten; a: b", "...",
)  # fmt: skip


class OfficialVqa:
    """The official script, read from its file."""

    def __init__(self, script: Path) -> None:
        spec = importlib.util.spec_from_file_location("vqa_eval", script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.vqa_eval: Any = module.VQAEval

    def normal_form(self, answer: str) -> str:
        script = self.vqa_eval()
        text = answer.replace("\n", " ").replace("\t", " ").strip()
        form: str = script.processDigitArticle(script.processPunctuation(text))
        return form

    def accuracy(self, answer: str, people: Sequence[str]) -> float:
        differ = len(set(people)) > 1
        answers = [
            {"answer_id": n, "answer": self.normal_form(said) if differ else said} for n, said in enumerate(people)
        ]
        truth = SimpleNamespace(
            qa={0: {"answers": answers, "question_type": "", "answer_type": ""}}, getQuesIds=lambda: [0]
        )
        evaluation = self.vqa_eval(truth, SimpleNamespace(qa={0: {"answer": answer}}), n=12)
        if not differ:
            evaluation.processPunctuation = evaluation.processDigitArticle = lambda text: text
        evaluation.evaluate()
        return float(evaluation.evalQA[0]) / 100


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the golden file of the evaluation.")
    parser.add_argument("vqa_eval", type=Path, help="the official script of VQA")
    official = OfficialVqa(parser.parse_args().vqa_eval)
    tokens = tokenize({"all": SENTENCES})["all"]
    scores = caption_scores(
        {str(n): caption for n, (caption, _) in enumerate(CAPTIONS)},
        {str(n): list(references) for n, (_, references) in enumerate(CAPTIONS)},
    )
    content: Case = {
        "tokens": [{"text": text, "tokens": line.split()} for text, line in zip(SENTENCES, tokens, strict=True)],
        "captions": [{"caption": caption, "references": references} for caption, references in CAPTIONS],
        "cider_d": scores.cider_d,
        "cider_d_of_photo": scores.cider_d_of_photo.tolist(),
        "bleu": list(scores.bleu),
        "rouge_l": scores.rouge_l,
        "forms": [{"answer": answer, "form": official.normal_form(answer)} for answer in FORMS],
        "answers": [
            {"answer": answer, "people": people, "accuracy": official.accuracy(answer, people)}
            for answer, people in ANSWERS
        ],
    }
    (GOLDEN / "scores.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
