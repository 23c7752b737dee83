"""Reading a RocksDB database from outside its process, without ever writing near it."""
