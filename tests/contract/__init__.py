"""The dev server held against what a real server answered."""
