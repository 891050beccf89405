# SPDX-License-Identifier: Apache-2.0
"""Nouns and verbs of demo_tasks.py with the rules of English that inflect them; what the rules miss is listed."""
IRREGULAR_PLURALS = dict(pair.split(":") for pair in (
    "child:children man:men woman:women foot:feet tooth:teeth mouse:mice goose:geese leaf:leaves wolf:wolves knife:knives "
    "wife:wives shelf:shelves loaf:loaves thief:thieves calf:calves scarf:scarves tomato:tomatoes potato:potatoes "
    "hero:heroes echo:echoes").split())

REGULAR_NOUNS = (
    "apple banana baker bank barn basket battle beach bell belt berry bird boat body book bottle box branch bridge brother "
    "brush bucket bus bush butterfly button cable cake camel candle canyon captain car card carpet castle cat chair cherry "
    "church circle city class cloud clown coach coat coin college colour comb copy corner country cow crane cup curtain dance "
    "daisy daughter desk diary dish doctor dog donkey door dress driver drum duck duty eagle ear egg enemy engine factory fairy "
    "family farm fence ferry field finger flag flower fly fork fox friend frog galaxy game garden gate gift girl glass glove "
    "grape guitar hammer hand hat hill hobby hook horse hotel house island jacket jar jelly jewel jungle key kitchen kite "
    "lady lake lamp lawyer lemon letter library lion lorry lunch lock magnet map march market match memory message mirror "
    "monkey month moth mountain nail nation needle nest notebook nurse ocean office onion orange owl pencil palace party "
    "patch path peach pear penny piano picture pillow pirate planet plate pony porch prize puppy queen quilt rabbit "
    "radish river road rocket roof room rope sandwich school seat secret shop sister sketch spider spoon stitch story "
    "street student table teacher temple tiger ticket torch toy train tray tree trophy tunnel turkey uncle valley village "
    "violin wagon wall watch wheel window winner wish witch worm zebra").split()

IRREGULAR_PASTS = dict(pair.split(":") for pair in (
    "go:went see:saw take:took give:gave come:came eat:ate drink:drank sing:sang ring:rang swim:swam run:ran begin:began "
    "write:wrote drive:drove ride:rode rise:rose break:broke speak:spoke steal:stole wake:woke choose:chose freeze:froze "
    "know:knew grow:grew throw:threw blow:blew fly:flew draw:drew buy:bought bring:brought think:thought catch:caught "
    "teach:taught fight:fought seek:sought keep:kept sleep:slept sweep:swept feel:felt leave:left meet:met lend:lent "
    "send:sent spend:spent build:built lose:lost find:found hold:held stand:stood win:won dig:dug hang:hung sit:sat "
    "tell:told sell:sold hear:heard make:made say:said pay:paid").split())

DOUBLING_VERBS = set("stop plan drop clap grab hug jog nod pat plug rob rub shop skip slip step tap trap trip wrap beg".split())

REGULAR_VERBS = (
    "accept add admire agree allow amuse annoy answer apply argue arrive ask attach bake balance bless boast boil borrow bounce "
    "bow brush bury call camp care carry cause change chase cheat check cheer chew clean climb close collect comb cook "
    "copy count cover crash crawl cross cry cure cycle damage dance dare decay deliver deny depend destroy dry dust earn empty "
    "enjoy enter envy escape explain fade fail fasten fetch fill fix float fold follow frame fry gather gaze glue greet guard "
    "guess hand hate heal help hope hunt hurry imagine improve invite iron jail join joke jump kick kiss knock "
    "land laugh lick lift like listen live load lock look love march marry match melt mend miss mix move multiply need "
    "notice obey offer open order own pack paint park pass phone pick place plant play point polish pour practise pray press "
    "promise pull push race reach relax repair reply rescue rest rinse roll rush sail save scare search share shout sign "
    "smile smoke snore spray squeeze stare start stay study support talk taste thank tidy touch trade try turn use "
    "visit wait walk want warn wash watch wave whisper whistle wipe wish wonder work worry yawn yell").split()

NOUNS = list(IRREGULAR_PLURALS) + REGULAR_NOUNS
VERBS = list(IRREGULAR_PASTS) + sorted(DOUBLING_VERBS) + REGULAR_VERBS


def ends_in_consonant_y(word):
    return word.endswith("y") and word[-2] not in "aeiou"


def plural(noun):
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if ends_in_consonant_y(noun):
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "z", "ch", "sh")) else "s")


def past_tense(verb):
    if verb in IRREGULAR_PASTS:
        return IRREGULAR_PASTS[verb]
    if verb in DOUBLING_VERBS:
        return verb + verb[-1] + "ed"
    if ends_in_consonant_y(verb):
        return verb[:-1] + "ied"
    return verb + ("d" if verb.endswith("e") else "ed")
