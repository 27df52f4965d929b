"""What can be wrong with a dataset, and what to do about it: a line per kind of finding."""

from __future__ import annotations

REMEDIES = {
    "unreadable-file": "Copy the files again from their source, or remove them with their masks.",
    "too-many-pixels": "Cut the images into tiles of fewer pixels, or remove them.",
    "broken-annotation": "Export the annotations again, or mend the entries that are named.",
    "broken-rle": "Export the annotations again, or take the broken entries out.",
    "class-unknown": "Add the category to the list of classes, or take its entries out.",
    "shape-outside": "Were the images resized after they were labelled? Scale the shapes alike, or clip them.",
    "dicom-without-pixels": "Remove the files that hold no image, such as reports and plans.",
    "overlapping-segments": "A pixel has one class here. Make the segments disjoint, or choose which one wins.",
    "jpeg-mask": "JPEG changes label values. Save the masks as PNG, from their source.",
    "mask-is-image": "These masks are pictures. Put label masks there; if the two folders are swapped, rename them.",
    "anti-aliased-mask": "The masks were smoothed at their borders, which makes classes that are none. Make them again "
    "from their source with nearest neighbour and without JPEG.",
    "soft-mask": "A grey level is no class. Round them at one half and save 0 and 255; --fix does that in a copy.",
    "object-numbers": "Numbers of objects are no classes. Try --labels instances, or --labels indices if they are "
    "classes.",
    "classes-unknown": "Say what the values are: --classes, --labels, --ignore, or a classes.json in the folder.",
    "size-differs": "Make image and mask equal: resize the mask with nearest neighbour, or check the pairing.",
    "axes-swapped": "Height and width are exchanged. Transpose or turn the masks, or mend what wrote them.",
    "place-differs": "Check the pairing, or warp the masks onto the grid of their images with nearest neighbour.",
    "orientation-differs": "The masks are turned or mirrored. Turn them as their images are, and look at a few.",
    "label-outside": "Is this a colour mask? Try --labels colours. Else give --classes or --ignore, or mend the masks.",
    "zero-convention": "Classes seem to count from 1. Try --ignore 0; if 0 is a class, name it too.",
    "mixed-encodings": "Some masks hold indices, others grey levels. Save all alike, with the same value for a class.",
    "image-without-mask": "Add masks of the same name, or move the images out of the folder.",
    "mask-without-image": "Add images of the same name, or move the masks out of the folder.",
    "name-twice": "Remove or rename one of the files that share a name.",
    "listed-missing": "Copy the images, or take their names off the list.",
    "class-missing-in-train": "A class that is never seen cannot be learnt. Split anew, or leave the class out.",
    "class-missing-in-val": "A class that val never shows has no score. Split anew: move some of its images to val.",
    "near-duplicate": "Scores on copies say nothing. Keep them in one split (train.txt and val.txt say who is where), "
    "or remove them.",
    "in-two-splits": "Take them off one of the lists; until then each is in val, or else in test, alone.",
    "identical-files": "Remove all but one, or, where they are of several splits, keep them in one.",
    "all-ignore-mask": "Every pixel is ignore, so nothing is learnt. Label the images, or remove them.",
    "empty-mask": "Only the first class is on them. Right if the images show nothing else; else label them.",
    "nothing-labelled": "All masks hold the same single class, so there is nothing to tell apart. Check the export.",
    "mixed-depth": "Save all images in one depth; the range of values is taken from the data as a whole.",
    "mixed-channels": "Save all images with the same channels. Only grey among colour is taken as it is.",
}
"""The kinds of finding and the remedy of each, in the order in which a report lists them."""
