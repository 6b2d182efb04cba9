"""What tests are made from: records, runs, models, data sets, trainings."""
