# Where the state of environment "ci-test" lies. Bucket and region are given at init, from config.yaml.
key            = "ci-test/client/terraform.tfstate"
dynamodb_table = "lock-table"
encrypt        = true
