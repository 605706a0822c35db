# Where the state of environment "prod" lies. Bucket and region are given at init, from config.yaml.
key            = "prod/client/terraform.tfstate"
dynamodb_table = "lock-table"
encrypt        = true
