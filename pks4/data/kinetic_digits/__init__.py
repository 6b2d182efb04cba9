"""The embedded data set: handwritten digits that move over photographs, rendered here.

tasks         the tasks, their classes and time-reversal pairs
trajectory    position, scale and angle of the sprite in every frame, by class of motion
long_task     the same for task `long`: two cues, far apart
shapes        the look of task `shapes`: blobs on textures, a camera that shakes
sprites       digits and photographs, none shared between splits
render        the frames of a clip
encode        frames -> H.264, the same bytes every time
make_dataset  a data set in a cache folder: parallel, resumable
stills        single images for image pre-training
leak_probe    whether a task can be solved from too little of a clip
leak_views    what each probe sees of a clip
"""
