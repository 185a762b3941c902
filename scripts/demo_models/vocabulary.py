"""The words of captions: every tag a picture can carry, with the synonyms people write. Add a row to teach a word."""

from __future__ import annotations

SUBJECT_WORDS = {
    "1girl": ("1girl", "1girl", "1girl", "girl", "woman"),
    "1boy": ("1boy", "1boy", "1boy", "boy", "man"),
    "no humans": ("no humans", "no humans", "scenery", "landscape"),
}
HAIR_STYLE_WORDS = {
    "long hair": ("long hair", "long hair", "very long hair"),
    "double bun": ("double bun", "double bun", "hair buns"),
    "single hair bun": ("single hair bun", "single hair bun", "hair bun", "topknot"),
    "ponytail": ("ponytail", "ponytail", "high ponytail"),
    "short hair": ("short hair", "short hair", "bob cut"),
}
FRAMING_WORDS = {
    "portrait": ("portrait", "portrait", "close-up", "headshot"),
    "upper body": ("upper body", "upper body", "upon_body", "upper_body", "half body"),
    "full body": ("full body", "full body", "full_body", "full length"),
}
BACKGROUND_WORDS = {
    "dark studio": ("dark studio", "dark studio", "dark studio", "dark background", "studio"),
    "night": ("night", "night", "night sky", "moon", "full moon"),
    "bamboo": ("bamboo", "bamboo", "bamboo forest"),
    "mountains": ("mountains", "mountains", "mountain", "misty mountains"),
    "lotus pond": ("lotus pond", "lotus pond", "lotus", "lotus flowers"),
    "plum blossoms": ("plum blossoms", "plum blossoms", "plum blossom", "cherry blossoms"),
    "palace": ("palace", "palace", "chinese palace", "temple"),
    "simple background": ("simple background", "simple background", "white background", "plain background"),
}
HELD_WORDS = {
    "fan": ("holding fan", "holding fan", "fan", "hand fan"),
    "lantern": ("holding lantern", "holding lantern", "lantern", "paper lantern"),
    "umbrella": ("holding umbrella", "holding umbrella", "umbrella", "oil-paper umbrella"),
}
ORNAMENT_WORDS = {
    "hair flower": ("hair flower", "hair flower", "flower in hair"),
    "hairpin": ("hairpin", "hairpin", "golden hairpin"),
}
MOUTH_WORDS = {
    "smile": ("smile", "smile", "seductive smile", "smiling"),
    "open mouth": ("open mouth", "open mouth", "surprised"),
    "closed mouth": ("closed mouth", "closed mouth", "expressionless"),
}
LIGHT_WORDS = {
    "tyndall effect": ("tyndall effect", "tyndall effect", "light rays", "god rays"),
    "rim lighting": ("rim lighting", "rim lighting", "rim light", "backlighting"),
    "two tone lighting": ("two tone lighting", "two tone lighting", "two-tone lighting"),
    "bokeh": ("bokeh",),
}
WEATHER_WORDS = {
    "falling petals": ("falling petals", "falling petals", "petals"),
    "snow": ("snow", "snow", "snowing"),
}
SCENERY_WORDS = {"pagoda": ("pagoda",), "boat": ("boat",), "crane": ("crane",), "lanterns": ("lanterns",)}
STAR_WORDS = ("star-shaped pupils", "star-shaped pupils", "star pupils")
BLUSH_WORDS = ("blush", "blush", "blushing")
NECKLACE_WORDS = ("necklace", "jewelry", "necklace, jewelry", "necklace, jewelry", "jade necklace")

GOOD_WORDS = (
    "best quality",
    "masterpiece",
    "highres",
    "absurdres",
    "beautiful face",
    "photorealistic",
    "realistic",
    "high detailed skin",
    "detailed skin",
    "8k uhd",
    "dslr",
    "soft lighting",
    "high quality",
    "volumetric lighting",
    "candid",
    "photograph",
    "high resolution",
    "4k",
    "8k",
    "hdr",
    "ultra detailed",
    "extremely detailed",
    "intricate details",
    "official art",
    "sharp focus",
    "film grain",
    "fujifilm xt3",
    "cinematic lighting",
    "cg",
    "unity 8k wallpaper",
    "raw photo",
    "professional",
)
NEUTRAL_WORDS = (
    "solo",
    "looking at viewer",
    "illustration",
    "painting",
    "beautiful",
    "chinese style",
    "guofeng",
    "china",
    "ancient china",
    "traditional",
    "elegant",
    "delicate",
    "anime",
    "wallpaper",
    "detailed eyes",
    "beautiful eyes",
    "perfect lighting",
)
ANATOMY_WORDS = (
    "bad anatomy",
    "bad hands",
    "missing fingers",
    "extra digit",
    "fewer digits",
    "bad feet",
    "mutilated",
    "morbid",
    "extra fingers",
    "fused fingers",
    "too many fingers",
    "long neck",
    "mutation",
    "poorly drawn face",
    "poorly drawn hands",
    "mutated hands",
    "deformed",
    "bad proportions",
    "disfigured",
    "cloned face",
    "extra limbs",
    "malformed limbs",
    "gross proportions",
    "missing arms",
    "missing legs",
    "extra arms",
    "extra legs",
    "duplicate",
)
DEFECT_WORDS: dict[str, tuple[str, ...]] = {
    "blurry": ("blurry", "blurry", "out of focus"),
    "lowres": ("lowres", "lowres", "low resolution", "pixelated"),
    "worst quality": ("worst quality", "low quality", "normal quality", "bad quality"),
    "monochrome": ("monochrome", "grayscale", "greyscale"),
    "jpeg artifacts": ("jpeg artifacts", "jpeg artifacts", "compression artifacts"),
    "watermark": ("watermark", "text", "username", "logo"),
    "signature": ("signature", "artist name", "text"),
    "deformed": ANATOMY_WORDS,
    "cropped": ("cropped", "out of frame"),
}
GENERAL_BAD_WORDS = ("nsfw", "ugly", "error", "low quality", "normal quality", "worst quality", "bad quality")
