# Where the state of environment "test" lies. Bucket and region are given at init, from config.yaml.
key            = "test/client/terraform.tfstate"
dynamodb_table = "lock-table"
encrypt        = true
