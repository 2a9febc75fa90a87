"""The demo's data set: `scenes` composes photos of `objects`, whose shapes are in `outlines`."""
