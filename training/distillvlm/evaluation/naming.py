"""Does a caption name what the photo shows: a word that people agree on, the large objects, women as women?

CHAIR (Rohrbach et al. 2018, arXiv:1809.02156) asks the opposite: whether what a caption names is there. Words for women
and men: Hendricks et al. 2018, arXiv:1803.09797.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence

from distillvlm.data.concepts import said_words
from distillvlm.data.content_words import forms_of
from distillvlm.data.records import ObjectBox, Record
from distillvlm.evaluation.bootstrap import Interval, bootstrap_mean

AGREEING = 3  # people who say a word, of five
LARGE = 0.1  # of the picture
LEAST_ITEMS = 20

GENDER_WORDS = """
women: woman women lady ladies girl girls female females mother daughter bride wife her she
men: man men gentleman guy guys boy boys male males father son groom husband his he
"""
# What else people call COCO's 80 classes; a class's own words go without saying.
OTHER_NAMES = """
person: man men woman women boy girl child children kid baby toddler infant people guy lady gentleman player rider
person: surfer skier snowboarder skateboarder skater biker cyclist motorcyclist batter catcher pitcher umpire hitter
person: chef cook adult teenager teen human male female couple crowd group family worker officer soldier tourist swimmer
person: climber runner dancer friend student teacher bride groom pedestrian passenger driver mother father son daughter
bicycle: bike cyclist cycle
car: automobile sedan suv taxi cab van vehicle jeep convertible
motorcycle: motorbike bike scooter moped motorcyclist
airplane: plane jet aircraft airliner jetliner
bus: coach minibus
train: locomotive tram trolley engine subway
truck: pickup lorry van vehicle firetruck
boat: ship sailboat canoe kayak ferry yacht vessel raft rowboat gondola
traffic light: stoplight signal light streetlight
fire hydrant: hydrant
stop sign: sign
parking meter: meter
bench: seat
bird: duck goose geese seagull gull pigeon parrot owl eagle hawk swan penguin chicken rooster peacock crane heron
bird: ostrich flamingo pelican crow sparrow hen
cat: kitten kitty
dog: puppy pup poodle terrier beagle collie retriever labrador hound bulldog dachshund greyhound husky
horse: pony foal mare colt stallion
sheep: lamb ram ewe
cow: cattle bull calf calves ox oxen steer
bear: cub polar grizzly panda
giraffe:
zebra:
elephant:
backpack: bag knapsack rucksack pack
umbrella: parasol
handbag: purse bag tote
tie: necktie bowtie
suitcase: luggage bag baggage
frisbee: disc disk
skis: ski skier skiing
snowboard: board snowboarder snowboarding
sports ball: ball soccer football basketball volleyball baseball
kite: parasail
baseball bat: bat
baseball glove: glove mitt
skateboard: board skateboarder skateboarding skating
surfboard: board surfer surfing
tennis racket: racket racquet
bottle: beer wine
wine glass: glass goblet wine
cup: mug coffee tea
fork: utensil silverware
knife: knives blade utensil silverware
spoon: utensil silverware
bowl: dish
banana: fruit
apple: fruit
sandwich: burger hamburger sub panini hotdog food
orange: fruit citrus
broccoli: vegetable food
carrot: vegetable food
hot dog: hotdog sausage frankfurter food
pizza: slice food
donut: doughnut pastry
cake: cupcake dessert pastry cheesecake
chair: seat armchair stool recliner
couch: sofa loveseat settee
potted plant: plant flower houseplant tree
bed: mattress bunk
dining table: table desk counter
toilet: urinal commode bathroom
tv: television monitor screen
laptop: computer notebook
mouse: computer
remote: controller wii wiimote
keyboard: computer
cell phone: phone cellphone smartphone mobile telephone iphone
microwave: oven
oven: stove range
toaster:
sink: basin washbasin
refrigerator: fridge freezer
book: novel textbook bookshelf
clock: clocktower watch
vase: pot
scissors: shears
teddy bear: teddy bear toy
hair drier: dryer hairdryer blower
toothbrush: brush
"""


def words_by_name(text: str) -> dict[str, set[str]]:
    """Of lines `name: word word`; a name may have several lines."""
    found: dict[str, set[str]] = {}
    for line in text.strip().splitlines():
        name, _, words = line.partition(":")
        found.setdefault(name, set()).update(words.split())
    return found


GENDERS = words_by_name(GENDER_WORDS)


class ObjectNames:
    """Whether a caption names an object of a class."""

    def __init__(self) -> None:
        self._names = words_by_name(OTHER_NAMES)

    def named(self, label: str, caption: str) -> bool:
        """By the class's own name, in one word or several, or by another; in any form."""
        forms = [set(forms_of(word)) for word in said_words(caption)]
        own = label.split()
        if any(
            all(word in forms[start + place] for place, word in enumerate(own))
            for start in range(len(forms) - len(own) + 1)
        ):
            return True
        others = self._names.get(label, set()) | {"".join(own)}
        return any(word_forms & others for word_forms in forms)


def agreed_words(captions: Sequence[str], content_words: Container[str]) -> set[str]:
    """Content words that at least three of a photo's captions say, in the same form."""
    counts = Counter(word for caption in captions for word in set(said_words(caption)))
    return {word for word, count in counts.items() if count >= AGREEING and word in content_words}


def gender_said(caption: str) -> set[str]:
    """Of `GENDERS`, those that the caption has words for."""
    said = set(said_words(caption))
    return {name for name, words in GENDERS.items() if said & words}


def agreed_gender(captions: Sequence[str]) -> str | None:
    """The one of `GENDERS` that at least three of a photo's captions have words for; None where any has words for the
    other."""
    counts = Counter(name for caption in captions for name in gender_said(caption))
    return next((name for name, count in counts.items() if count >= AGREEING and len(counts) == 1), None)


def large_objects(record: Record) -> list[ObjectBox]:
    """Boxes that people drew, of more than a tenth of the picture."""
    picture = record.width * record.height
    return [one for one in record.objects if one.score == 1.0 and _area(one) > LARGE * picture]


def _area(one: ObjectBox) -> float:
    x1, y1, x2, y2 = one.box
    return (x2 - x1) * (y2 - y1)


def naming_report(
    records: Sequence[Record], captions: Mapping[str, str], content_words: Container[str]
) -> dict[str, tuple[int, Interval]]:
    """Items and their share, in points, by photos: captions that say an agreed word, of photos that have one; large
    objects whose class the caption names; of photos of women, or men, captions with words for the one or the other
    alone. What there are fewer than `LEAST_ITEMS` of is left out: a bootstrap of three equal items has no width.

    content_words: see `ContentWords`.
    """
    names = ObjectNames()
    words = {record.photo_id: agreed_words(record.captions, content_words) for record in records}
    says = [100.0 * bool(set(said_words(captions[key])) & agreed) for key, agreed in words.items() if agreed]
    objects = [
        (record.photo_id, 100.0 * names.named(label, captions[record.photo_id]))
        for record in records
        for label in sorted({one.label for one in large_objects(record)})
    ]
    report: dict[str, tuple[int, Interval]] = {}
    if len(says) >= LEAST_ITEMS:
        report["agreed word"] = len(says), bootstrap_mean(says)
    if len(objects) >= LEAST_ITEMS:
        photos, named = zip(*objects, strict=True)
        report["large objects named"] = len(named), bootstrap_mean(named, photos)
    for shown in GENDERS:
        said = [gender_said(captions[one.photo_id]) for one in records if agreed_gender(one.captions) == shown]
        for name in GENDERS if len(said) >= LEAST_ITEMS else ():
            report[f"{shown} called {name}"] = len(said), bootstrap_mean([100.0 * (each == {name}) for each in said])
    return report
