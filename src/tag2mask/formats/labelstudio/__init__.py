"""Label Studio: exported annotations as tags and masks, and masks as predictions to correct."""
