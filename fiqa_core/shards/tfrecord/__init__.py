"""TFRecord files of tf.train.Example, as TensorFlow and `tensorflow_datasets` write them."""
