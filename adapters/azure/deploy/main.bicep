// Everything that outlives an eviction: network, storage, identities and roles, telemetry, the gallery.
// The VM (vm.bicep) or the scale set (scaleset.bicep) is deployed after it, and may come and go.
targetScope = 'resourceGroup'

@description('The region of all resources.')
param location string = resourceGroup().location

@description('What the names of all resources begin with.')
@minLength(3)
@maxLength(24)
param name string = 'spotfsm'

@description('The storage account: its name is unique in all of Azure, lower case letters and digits.')
@minLength(3)
@maxLength(24)
param storageAccountName string = '${take(toLower(replace(name, '-', '')), 11)}${uniqueString(resourceGroup().id)}'

@description('The queue of jobs. Poisoned ones go to the queue of this name with -poison behind it.')
@minLength(3)
@maxLength(56)
param queueName string = 'jobs'

@description('The blob container of the job store: checkpoints and results.')
@minLength(3)
@maxLength(63)
param containerName string = 'records'

@description('The object id of whoever puts messages, uploads packages and operates the VM. Empty grants nothing.')
param operatorPrincipalId string = ''

@description('What kind of principal that is.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param operatorPrincipalType string = 'User'

@description('Deploy a Bastion, to reach VMs that have no public address. It is billed by the hour.')
param deployBastion bool = true

module network 'modules/network.bicep' = {
  name: 'network'
  params: {
    location: location
    name: name
    deployBastion: deployBastion
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  params: {
    location: location
    accountName: storageAccountName
    queueName: queueName
    containerName: containerName
  }
}

module insights 'modules/insights.bicep' = {
  name: 'insights'
  params: {
    location: location
    name: name
  }
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  params: {
    location: location
    name: name
  }
}

module gallery 'modules/gallery.bicep' = {
  name: 'gallery'
  params: {
    location: location
    name: name
    publisherId: identity.outputs.publisherId
  }
}

module access 'modules/access.bicep' = {
  name: 'access'
  params: {
    accountName: storage.outputs.accountName
    queueName: storage.outputs.queueName
    poisonQueueName: storage.outputs.poisonQueueName
    containerName: storage.outputs.containerName
    packagesName: storage.outputs.packagesName
    insightsName: insights.outputs.name
    workerPrincipalId: identity.outputs.workerPrincipalId
    publisherPrincipalId: identity.outputs.publisherPrincipalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: operatorPrincipalType
  }
}

output storageAccountName string = storage.outputs.accountName
output queueUrl string = storage.outputs.queueUrl
output storeUrl string = storage.outputs.storeUrl
output packagesUrl string = storage.outputs.packagesUrl
output galleryName string = gallery.outputs.galleryName
output applicationName string = gallery.outputs.applicationName
output insightsName string = insights.outputs.name
output workerRoleName string = access.outputs.workerRoleName
output operatorRoleName string = access.outputs.operatorRoleName
output customAssignments array = access.outputs.customAssignments
